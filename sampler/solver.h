#pragma once

// What sampler.cpp and the solvers share. A new solver is one file that defines one function, a line here and a row in
// sampler.cpp's table.

#include "sampler/sampler.h"
#include "sampler/time_grid.h"

namespace uvic {

struct Run {
  Context& ctx;
  const Schedule& schedule;
  const SamplerOptions& options;  // validated, with order, t_start and t_end filled in
  Spacing spacing;
  bool at_knots;  // evaluate at whole training steps: knot_grid, not time_grid
  Predictor predict;
  const NoiseSource& noise;
  const StepObserver& observe;
  Tensor x;  // in place

  void stepped(int step) const {
    if (observe) observe(step, x);
  }
};

// The levels at which ddpm and ddim evaluate, then the one they end at: options.steps + 1 of them.
std::vector<NoiseLevel> ancestral_levels(const Run& run);

void solve_ddpm(const Run& run);
void solve_ddim(const Run& run);
enum class DpmForm : uint8_t { eps, x0 };  // of what the update integrates: "dpm" and "dpm++"
void solve_dpm_multistep(const Run& run, DpmForm form);
void solve_dpm_singlestep(const Run& run, DpmForm form);
void solve_sde_dpm(const Run& run);
void solve_unipc(const Run& run);
void solve_heun(const Run& run);
void solve_heun_ode(const Run& run);
void solve_euler_maruyama(const Run& run);
void solve_euler_ode(const Run& run);

}  // namespace uvic
