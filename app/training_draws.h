#pragma once

#include <span>

#include "app/config.h"
#include "app/dataset.h"
#include "app/train_step.h"
#include "kernels/core/philox.h"
#include "sampler/schedule.h"

namespace uvic {

// Turns a batch of pixels, or of latents, into one step's material: noise, times, latents drawn from their posteriors,
// dropped labels and texts. Everything is keyed by (run seed, step, global sample index) and by nothing else.
class TrainingDraws {
 public:
  // scale: what latents are multiplied by. empty_context [T, clip_dim] f32 stands for texts that are dropped; it must
  // outlive this.
  TrainingDraws(const RunConfig& config, const Schedule& schedule, double scale = 1, Tensor empty_context = {});

  // Of rows of batch (none: all of them); step counts from 0. The tensors lie in ctx's arena.
  StepInputs draw(Context& ctx, const Batch& batch, int64_t step, Rows rows = {}) const;

 private:
  // t in [0, 1) from a block of random words; of a discrete schedule, the knot that ends the part of [0, 1) it falls
  // in.
  double time(const Random4& random) const;
  double loss_weight(const NoiseLevel& level) const;
  Tensor clean_images(Context& ctx, const Batch& batch, Rows rows, std::vector<RandomKey> keys) const;
  // The texts of rows, those of dropped (counted from rows.begin) left empty.
  Tensor texts(Context& ctx, const Batch& batch, Rows rows, std::span<const int64_t> dropped) const;

  const RunConfig config_;
  Schedule schedule_;
  Prediction prediction_;
  double scale_;
  Tensor empty_context_;
};

}  // namespace uvic
