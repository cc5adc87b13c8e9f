#pragma once

#include "app/config.h"
#include "app/dataset.h"
#include "app/train_step.h"
#include "sampler/schedule.h"

namespace uvic {

// Turns a batch of pixels into one step's material: noise, times, dropped labels. Everything is keyed by (run seed,
// step, global sample index) and by nothing else.
class TrainingDraws {
 public:
  TrainingDraws(const RunConfig& config, const Schedule& schedule);

  // step counts from 0. The tensors lie in ctx's arena.
  StepInputs draw(Context& ctx, const Batch& batch, int64_t step) const;

 private:
  // t in [0, 1): uniform if the schedule is continuous, else a uniform one of its knots.
  double time(uint32_t word) const;
  double loss_weight(const NoiseLevel& level) const;

  const RunConfig config_;
  Schedule schedule_;
  Prediction prediction_;
};

}  // namespace uvic
