#pragma once

#include <filesystem>

#include "kernels/core/context.h"

namespace uvic {

struct SolverBenchRequest {
  std::filesystem::path model;
  int images = 8;  // of seeds 0, 1, ...; classes in turn
  int exact_steps = 1000;
};

// How near each deterministic solver, with its default grid of times, comes to the probability-flow ODE's solution
// (dpm++ of order 2 with exact_steps evaluations) in how many evaluations: one JSON record each on stdout, "distance"
// the root mean square over all values of the images, in [-1, 1]. In f32. Throws Error if the model cannot be read.
void bench_solvers(Context& ctx, const SolverBenchRequest& request);

}  // namespace uvic
