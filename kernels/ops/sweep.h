#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/core/host_device.h"

namespace uvic {

// What the sweep over the parameters takes from the device's memory: what every step changes, so that a sweep that was
// recorded (core/replay.h) can be done again, and what only the device knows yet. A Tensor `sweep` [kSweepScalars] f32
// holds it, all zeros before the first step.
struct SweepScalars {
  float decay, root_correction2, step_size;  // of set_rates()
  float grad_scale;                          // of clip()
  float stopped;                             // not 0: sweeps change nothing, until somebody zeroes it
};
constexpr int64_t kSweepScalars = sizeof(SweepScalars) / sizeof(float);

// The formulas of ops/update.h's functions of these names, for every device.
UVIC_HD inline void set_rates(SweepScalars& sweep, const SweepScalars& to) {
  sweep.decay = to.decay;
  sweep.root_correction2 = to.root_correction2;
  sweep.step_size = to.step_size;
}
UVIC_HD inline bool is_finite(double x) { return x - x == 0; }
UVIC_HD inline void clip(SweepScalars& sweep, double square, double max_norm) {
  const double norm = sqrt(square);
  sweep.grad_scale = max_norm > 0 && norm > max_norm ? static_cast<float>(max_norm / norm) : 1.0f;
  if (!is_finite(norm)) sweep.stopped = 1;
}

}  // namespace uvic
