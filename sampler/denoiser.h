#pragma once

#include <functional>

#include "kernels/core/context.h"
#include "sampler/schedule.h"

namespace uvic {

// All a solver sees of a network. x [B, ...]: read only; label: Schedule::label, one for the batch; out: overwritten,
// shape and dtype of x (f32, or f64 in tests). Temporaries may be left in the arena: the caller rewinds it.
using Denoiser = std::function<void(Context& ctx, Tensor x, double label, Tensor out)>;

// What the network was trained to give: the noise, the clean image, or v = alpha n - sigma x_0 (arXiv 2202.00512).
enum class Prediction : uint8_t { eps, x0, v };

// What is done to every x0 before a solver sees it.
struct X0Bounds {
  bool clip = false;                                                     // to [-1, 1]
  double threshold_ratio = 0, threshold_floor = 1, threshold_scale = 1;  // dynamic_threshold; ratio 0: not done
};

// In-painting: x0 is known, [B, ...] like x, to the share that keep says (1: known, 0: the network's). Both empty:
// none.
struct KnownPixels {
  Tensor x0, keep;
};

// Asks the network and hands a solver what it wants, whatever the network gives. Each conversion is direct: going from
// x0 to eps and back would divide by alpha, which is 5e-5 at the start of a cosine schedule.
class Predictor {
 public:
  Predictor(Context& ctx, const Denoiser& denoiser, Prediction prediction, const X0Bounds& bounds,
            const KnownPixels& known = {})
      : ctx_(ctx), denoiser_(denoiser), prediction_(prediction), bounds_(bounds), known_(known) {}

  // Overwrite out, shape and dtype of x [B, ...], which is read only. One network evaluation each.
  void eps(Tensor x, const NoiseLevel& level, Tensor out) const;  // never bounded
  void x0(Tensor x, const NoiseLevel& level, Tensor out) const;

 private:
  void evaluate(Tensor x, const NoiseLevel& level, Tensor out) const;

  Context& ctx_;
  const Denoiser& denoiser_;
  Prediction prediction_;
  X0Bounds bounds_;
  KnownPixels known_;
};

}  // namespace uvic
