#pragma once

#include <vector>

#include "app/config.h"
#include "app/dataset.h"
#include "app/rows.h"
#include "app/train_step.h"
#include "kernels/core/feed.h"
#include "kernels/core/philox.h"
#include "sampler/schedule.h"

namespace uvic {

// A batch of pixels or latents, and what the host draws for it, on their way to the device. Of B rows each; must live
// until all that is made of it is done.
struct StepMaterial {
  Tensor pixels, latents, context;         // the batch's
  Tensor alpha, sigma, t, weight, labels;  // [B]: as StepInputs'; labels may be empty
  Tensor empty_context;                    // [T, D] f32 in place of those texts that
  std::vector<bool> dropped;               // says
  std::vector<RandomKey> noise;            // of training noise
  OwnedTensor host_numbers, host_labels, host_empty_context;
};

// Turns a batch of pixels, or of latents, into one step's material: noise, times, latents drawn from their posteriors,
// dropped labels and texts. Everything is keyed by (run seed, step, global sample index) and by nothing else.
class TrainingDraws {
 public:
  // scale: what latents are multiplied by. empty_context [T, clip_dim] f32 stands for texts that are dropped; it must
  // outlive this.
  TrainingDraws(const RunConfig& config, const Schedule& schedule, double scale = 1, Tensor empty_context = {});

  // The host's part; step counts from 0. Begins a load of feed. batch must live as long as the material.
  StepMaterial bring(Feed& feed, const Batch& batch, int64_t step) const;
  // The device's part, of some rows (none: all of them). The tensors lie in ctx's arena.
  StepInputs draw(Context& ctx, const StepMaterial& material, Rows rows = {}) const;

 private:
  // t in [0, 1) from a block of random words; of a discrete schedule, the knot that ends the part of [0, 1) it falls
  // in.
  double time(const Random4& random) const;
  double loss_weight(const NoiseLevel& level) const;
  Tensor clean_images(Context& ctx, const StepMaterial& material, Rows rows, std::vector<RandomKey> keys) const;

  const RunConfig config_;
  Schedule schedule_;
  Prediction prediction_;
  double scale_;
  Tensor empty_context_;
};

}  // namespace uvic
