// DPM-Solver and DPM-Solver++, multistep (Lu et al., arXiv 2206.00927 and 2211.01095), orders 1 to 3. The update is an
// exponential integrator in lambda for f = eps (DPM-Solver) or f = x0 (DPM-Solver++):
//   x <- A x + C (E1 f_0 + E2 D1 + E3 D2),  E1 = exp(z) - 1,  E2 = E1/z - 1,  E3 = E2/z - 1/2
//   eps form  A = alpha_t / alpha_s, C = -sigma_t, z = h      x0 form  A = sigma_t / sigma_s, C = -alpha_t, z = -h
// with h = lambda_t - lambda_s and D1, D2 divided differences of f over the last evaluations.

#include <algorithm>
#include <array>
#include <cmath>
#include <span>

#include "kernels/ops/pointwise.h"
#include "sampler/solver.h"

namespace uvic {
namespace {

enum class Form : uint8_t { eps, x0 };

// From its number of steps on, the published code never lowers the order at the end (documented as 15, coded as 10).
constexpr int kLowerOrderBelow = 10;

// x <- of_x x + sum_k of_f[k] f_{-k}.
struct Update {
  double of_x = 0;
  std::array<double, 3> of_f{};
};

// past[0] is where x is, past[1] and past[2] the evaluations before it.
Update update_to(const NoiseLevel& to, std::span<const NoiseLevel> past, Form form, int order, bool taylor) {
  const NoiseLevel& from = past[0];
  const double h = to.lambda - from.lambda, z = form == Form::eps ? h : -h;
  const double c = form == Form::eps ? -to.sigma : -to.alpha;
  const double e1 = std::expm1(z), e2 = e1 / z - 1, e3 = e2 / z - 0.5;
  Update u;
  u.of_x = form == Form::eps ? std::exp(to.log_alpha - from.log_alpha) : to.sigma / from.sigma;
  u.of_f[0] = c * e1;
  if (order == 1) return u;

  const double r0 = (from.lambda - past[1].lambda) / h;  // slope_0 = (f_0 - f_-1) / r0
  if (order == 2) {
    const double slope = c * (taylor ? e2 : 0.5 * e1) / r0;
    u.of_f[0] += slope;
    u.of_f[1] -= slope;
    return u;
  }
  // D1 = slope_0 + r0 D2, D2 = (slope_0 - slope_1) / (r0 + r1), slope_1 = (f_-1 - f_-2) / r1.
  const double r1 = (past[1].lambda - past[2].lambda) / h;
  const double curve = c * (e2 * r0 + e3) / (r0 + r1);
  const double slope_0 = (c * e2 + curve) / r0, slope_1 = -curve / r1;
  u.of_f[0] += slope_0;
  u.of_f[1] += slope_1 - slope_0;
  u.of_f[2] -= slope_1;
  return u;
}

void solve(const Run& run, Form form) {
  const SamplerOptions& o = run.options;
  const Tensor x = run.x;
  std::array<Tensor, 3> f;  // f_0, f_-1, f_-2: rotated, never copied
  for (int k = 0; k < o.order; ++k) f[static_cast<size_t>(k)] = run.ctx.like(x);

  std::vector<NoiseLevel> levels;
  for (const double t : time_grid(run.schedule, run.spacing, o.steps + 1, o.t_end))
    levels.push_back(run.schedule.at(t));
  for (int i = 0; i < o.steps; ++i) {
    std::rotate(f.begin(), f.begin() + o.order - 1, f.begin() + o.order);
    const NoiseLevel& from = levels[static_cast<size_t>(i)];
    form == Form::eps ? run.predict.eps(x, from, f[0]) : run.predict.x0(x, from, f[0]);

    int order = std::min(o.order, i + 1);
    if (o.lower_order_final && o.steps < kLowerOrderBelow) order = std::min(order, o.steps - i);
    std::array<NoiseLevel, 3> past;
    for (int k = 0; k < order; ++k) past[static_cast<size_t>(k)] = levels[static_cast<size_t>(i - k)];
    const Update u = update_to(levels[static_cast<size_t>(i) + 1], past, form, order, o.taylor);
    const std::array<Term, 4> terms = {{{u.of_x, x}, {u.of_f[0], f[0]}, {u.of_f[1], f[1]}, {u.of_f[2], f[2]}}};
    linear_combination(run.ctx, std::span(terms).first(static_cast<size_t>(order) + 1), x);
    run.stepped(i);
  }
  if (o.denoise) {
    run.predict.x0(x, levels.back(), f[0]);
    linear_combination(run.ctx, std::array<Term, 1>{{{1.0, f[0]}}}, x);
    run.stepped(o.steps);
  }
}

}  // namespace

void solve_dpm_multistep(const Run& run) { solve(run, Form::x0); }
void solve_dpm_multistep_eps(const Run& run) { solve(run, Form::eps); }

}  // namespace uvic
