// The reverse SDE of the VP process and its probability-flow ODE (arXiv 2011.13456) by Euler's method, with U-ViT's
// grid: the network is evaluated at times from 1 to t_end, and the last step goes from t_end to 0 without noise.

#include <array>
#include <cmath>

#include "kernels/ops/pointwise.h"
#include "sampler/solver.h"

namespace uvic {
namespace {

// dx = (-beta/2 x - w beta score) dt + sqrt(beta) dz backwards in time, score = -eps / sigma: w = 1 in the SDE; in the
// ODE w = 1/2 and there is no noise.
void solve(const Run& run, bool sde) {
  // A single evaluation is at t_end, not at 1: what the published grid, linspace(t_end, 1, steps), gives.
  std::vector<double> times{run.options.t_end};
  if (run.options.steps > 1)
    times = time_grid(run.schedule, run.spacing, run.options.steps, run.options.t_start, run.options.t_end);
  times.push_back(0);

  const Tensor x = run.x, eps = run.ctx.like(x), z = sde ? run.ctx.like(x) : Tensor();
  for (int i = 0; i < run.options.steps; ++i) {
    const NoiseLevel level = run.schedule.at(times[static_cast<size_t>(i)]);
    run.predict.eps(x, level, eps);
    const double beta_dt = run.schedule.beta(level.t) * (level.t - times[static_cast<size_t>(i) + 1]);
    const double of_x = 1 + beta_dt / 2, of_eps = -(sde ? 1.0 : 0.5) * beta_dt / level.sigma;
    if (sde && i + 1 < run.options.steps) {
      run.noise(i, z);
      linear_combination(run.ctx, std::array<Term, 3>{{{of_x, x}, {of_eps, eps}, {std::sqrt(beta_dt), z}}}, x);
    } else {
      linear_combination(run.ctx, std::array<Term, 2>{{{of_x, x}, {of_eps, eps}}}, x);
    }
    run.stepped(i);
  }
}

}  // namespace

void solve_euler_maruyama(const Run& run) { solve(run, true); }
void solve_euler_ode(const Run& run) { solve(run, false); }

}  // namespace uvic
