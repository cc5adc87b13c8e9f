#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/core/replay.h"
#include "model/uvic.h"
#include "sampler/guidance.h"
#include "sampler/sampler.h"

namespace uvic {

struct GeneratorOptions {
  SamplerOptions sampler;
  Guidance guidance;
  const UViC* guide = nullptr;  // autoguidance (Karras et al., arXiv 2406.02507): the unconditional side is this weaker
                                // network with the condition; it must outlive the Generator
};

// Turns seeds and conditions into images: joins a network, a schedule and a solver.
class Generator {
 public:
  // net must outlive it. Throws Error if the options do not fit the schedule or the network (guidance without a null
  // class, a guide of another shape).
  Generator(const UViC& net, const Schedule& schedule, const GeneratorOptions& options);

  struct Request {
    std::span<const uint64_t> seeds;             // [B], one an image
    std::span<const int32_t> labels = {};        // [B], for models with labels
    std::span<const int32_t> other_labels = {};  // [B]: predictions for both labels are mixed, share of them this one's
    std::span<const float> share = {};
    int negative_label = -1;                 // the unconditional side's; -1: the null class
    Tensor context = {}, null_context = {};  // [B, T, clip_dim] f32, for text models; null_context to guide
    bool noise_given = false;                // images holds x_T already, instead of noise from seeds
    // An image [B, C, h, w] f32 in [-1, 1] to start from, noised to the level of t_start; and of which the result keeps
    // the share that keep says (1: known, 0: painted), like init; may be empty.
    Tensor init = {}, keep = {};
  };
  // Overwrites images [B, C, h, w] f32 with the result, before rounding to 8 bits.
  void generate(Context& ctx, const Request& request, Tensor images, const StepObserver& observe = {}) const;

 private:
  Denoiser denoiser(Context& ctx, const Request& request) const;

  const UViC& net_;
  Schedule schedule_;
  GeneratorOptions options_;
  mutable Replay forward_, guide_forward_;  // what the networks launch is the same in every step of every batch
};

}  // namespace uvic
