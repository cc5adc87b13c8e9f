#pragma once

#include "app/train_step.h"

namespace uvic {

// Inputs that mean nothing, for timing; all in ctx's arena.

// Normal noise, the same for every draw number. (Zeros would draw less power than a network's numbers do.)
Tensor made_up_noise(Context& ctx, DType dtype, Shape shape, uint32_t draw);
// Labels and texts as config's network takes them.
Conditions made_up_conditions(Context& ctx, const UViCConfig& config, int64_t batch);
StepInputs made_up_step(Context& ctx, const UViCConfig& config, int64_t batch);

}  // namespace uvic
