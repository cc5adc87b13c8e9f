#pragma once

#include <string>
#include <vector>

#include "sampler/schedule.h"

namespace uvic {

// Where a solver evaluates the network, high noise first.
enum class Spacing : uint8_t {
  time,       // uniform in t
  logsnr,     // uniform in lambda (DPM-Solver)
  quadratic,  // uniform in sqrt(t)
  karras,     // uniform in (sigma / alpha)^(1/7) (EDM, arXiv 2206.00364)
  leading,    // training steps 0, k, 2k, ... + offset: the largest is not reached (improved-diffusion's "ddimN",
              // diffusers)
  linspace,   // training steps rint(linspace(0, T - 1, count + 1)) without 0 (diffusers, multistep solvers)
  trailing,   // training steps T - 1, T - 1 - k, ...: the smallest is not reached (diffusers)
};
Spacing spacing_named(const std::string& name);
const char* name_of(Spacing spacing);

// count points from t_start down to t_end, both included; {t_start} if count is 1. Not for leading and trailing. Throws
// Error if the spacing needs a finite lambda at t_start and there is none.
std::vector<double> time_grid(const Schedule& schedule, Spacing spacing, int count, double t_start, double t_end);

// count different times that are knots of a discrete schedule, the ones up to t_start, as samplers over whole training
// steps want them: time (improved-diffusion: both ends included), leading (offset is added to every index) or trailing.
std::vector<double> knot_grid(const Schedule& schedule, Spacing spacing, int count, double t_start, int offset);

}  // namespace uvic
