#pragma once

#include <array>
#include <functional>
#include <optional>
#include <vector>

#include "kernels/core/replay.h"
#include "kernels/ops/readback.h"
#include "model/optimizer.h"
#include "model/uvic.h"
#include "sampler/denoiser.h"

namespace uvic {

// One step's material, each [B, ...] on the Context's device. How it was drawn is the caller's business.
struct StepInputs {
  Tensor x0;            // [B, C, h, w] f32, clean images in [-1, 1]
  Tensor eps;           // the noise, like x0
  Tensor alpha, sigma;  // [B] f32: x_t = alpha x0 + sigma eps
  Tensor t;             // [B] f32, the time value the network gets
  Conditions conditions;
  Tensor weight;  // [B] f32 loss weights, or empty for 1
};

// Losses without weights, summed by quarter of the noise levels: of the training time t in [0, 1), so that nearly clean
// images come first and nearly all noise last.
struct LevelLosses {
  std::array<double, 4> sum{}, samples{};

  // t: the network's time label, in [0, 999] or 1 ... 1000.
  void add(float t, float loss);
};

struct StepResult {
  double loss = 0;  // mean over the batch of weight * mean over elements of (target - prediction)^2, before the update
  double lr = 0, grad_norm = 0;
  std::vector<float> loss_per_sample;  // without weights
  LevelLosses levels;                  // the same
};

// Everything that is trained: the network over its parameters.
class TrainedModel {
 public:
  // Allocates every role in dtype's working precision, with so many averages, and the released initialisation; with
  // init_score > 0, attention starts as start_scores_at says. parts: as ParamStore takes it.
  TrainedModel(Context& ctx, const UViCConfig& config, DType dtype, uint64_t seed, double init_score = 0,
               size_t averages = 1, StoreParts* parts = nullptr)
      : store(ctx.device()), net(store, config), optimizer(ctx, store) {
    store.allocate_for_training(dtype, averages, parts);
    store.initialise(ctx, seed);
    if (init_score > 0) start_scores_at(ctx, store, config, init_score);
  }
  ParamStore store;
  UViC net;
  bool recompute = false;  // UViC::Saved's
  Optimizer optimizer;
  Replay gradients;  // what PendingStep::add launches
};

// One training step in the order of the released code: zero gradients, loss, backward of the batch mean, AdamW, EMA.
// step is 1-based. Throws Error, with weights and moments untouched, if the loss or the gradient is not finite; it
// names the module, or the parameter, where that began.
StepResult train_step(Context& ctx, TrainedModel& model, const StepInputs& in, Prediction prediction,
                      const OptimizerConfig& optimizer, int64_t step);

// What becomes of gradients while backward makes them, see UViC::backward.
struct GradientUse {
  UViC::GradientsDone done;      // none: nothing
  std::function<void()> finish;  // once the last are made; all that follows comes after it
  bool only_queues = false;      // both wait for nothing, so that a GPU's recording can hold them
};

// The same for a step whose samples need not come all at once, and whose numbers come back while the host goes on: on a
// GPU it can give ctx the next step before it reads this one's.
class PendingStep {
 public:
  // queued: a loss or a gradient that is not finite is seen by read(), once all is over; it changes no weights, here
  // and in the steps queued after this one. careful: does such a step again, looks at every number, and throws the
  // Error that says where that began, at the latest in finish().
  enum class Mode : uint8_t { queued, careful };
  // samples: of all parts that this process adds. All arguments must outlive this.
  PendingStep(Context& ctx, TrainedModel& model, const OptimizerConfig& optimizer, int64_t step, int64_t samples,
              Mode mode = Mode::queued);

  // in holds share of the step's samples (all shares: 1), those of other processes counted. Adds what they give to the
  // gradients, of which `use` is made. On a GPU the launches are recorded and replayed, unless use waits.
  void add(const StepInputs& in, Prediction prediction, double share, const GradientUse& use = {});
  // After the last part: the update.
  void finish();
  // After finish(): waits for the step, and for nothing that ctx was given later. Nothing if a number was not finite:
  // the step is to be done again, carefully.
  std::optional<StepResult> read();

 private:
  struct Part {
    Tensor loss, t, weight;  // of its samples, on their way to the host
  };

  Context& ctx_;
  TrainedModel& model_;
  const OptimizerConfig& optimizer_;
  int64_t step_;
  Mode mode_;
  double lr_;
  Readback numbers_;
  std::vector<Part> parts_;
  Tensor square_;  // of the gradient's norm
};

}  // namespace uvic
