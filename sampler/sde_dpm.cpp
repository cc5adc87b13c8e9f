// SDE-DPM-Solver++ (Lu et al., arXiv 2211.01095, section 5.4), multistep: the reverse SDE by the exponential integrator
// of DPM-Solver++, orders 1 to 3. Fresh noise at each step forgives errors of the steps before.

#include <algorithm>
#include <array>
#include <span>

#include "kernels/ops/pointwise.h"
#include "sampler/dpm.h"

namespace uvic {

// x <- (sigma_t / sigma_s) e^-h x + alpha_t ((1 - e^-2h) f_0 + w1 D1 + w2 D2) + sigma_t sqrt(1 - e^-2h) z
void solve_sde_dpm(const Run& run) {
  const SamplerOptions& o = run.options;
  const Tensor x = run.x, z = run.ctx.like(x);
  std::array<Tensor, 3> f;  // f_0, f_-1, f_-2: rotated, never copied
  for (Tensor& t : f) t = run.ctx.like(x);
  const std::vector<NoiseLevel> levels = dpm_levels(run);
  for (int i = 0; i < o.steps; ++i) {
    std::rotate(f.begin(), f.end() - 1, f.end());
    const NoiseLevel &from = levels[static_cast<size_t>(i)], &to = levels[static_cast<size_t>(i) + 1];
    run.predict.x0(x, from, f[0]);
    const int order = dpm_order(run, i, to);
    const double h = to.lambda - from.lambda, gain = -std::expm1(-2 * h);
    std::array<double, 3> of_f{gain, 0, 0};
    if (order > 1) {
      const double r0 = (from.lambda - levels[static_cast<size_t>(i) - 1].lambda) / h;
      const double heun = 1 - gain / (2 * h);
      double of_slope_0 = o.taylor ? heun : 0.5 * gain, of_slope_1 = 0;
      if (order > 2) {
        const double r1 = (levels[static_cast<size_t>(i) - 1].lambda - levels[static_cast<size_t>(i) - 2].lambda) / h;
        // D1 = slope_0 + r0 D2, D2 = (slope_0 - slope_1) / (r0 + r1).
        const double half = o.flip_d2 ? -0.5 : 0.5;
        const double of_d2 = (heun * r0 + (gain - 2 * h) / (4 * h * h) + half) / (r0 + r1);
        of_slope_0 = heun + of_d2;
        of_slope_1 = -of_d2 / r1;
      }
      of_slope_0 /= r0;
      of_f[0] += of_slope_0;
      of_f[1] += of_slope_1 - of_slope_0;
      of_f[2] -= of_slope_1;
    }
    std::array<Term, 5> terms;
    size_t count = 0;
    if (to.sigma > 0) {
      run.noise(i, z);
      terms[count++] = {to.sigma * std::sqrt(gain), z};
      terms[count++] = {to.sigma / from.sigma * std::exp(-h), x};
    }
    for (size_t k = 0; k < static_cast<size_t>(order); ++k) terms[count++] = {to.alpha * of_f[k], f[k]};
    linear_combination(run.ctx, std::span(terms).first(count), x);
    run.stepped(i);
  }
}

}  // namespace uvic
