// DPM-Solver and DPM-Solver++, multistep, orders 1 to 3: D1 and D2 are divided differences over the last evaluations.
// See dpm.h for the notation.

#include <algorithm>
#include <array>
#include <span>

#include "kernels/ops/pointwise.h"
#include "sampler/dpm.h"

namespace uvic {
namespace {

// x <- of_x x + sum_k of_f[k] f_{-k}.
struct Update {
  double of_x = 0;
  std::array<double, 3> of_f{};
};

// past[0] is where x is, past[1] and past[2] the evaluations before it.
Update update_to(const NoiseLevel& to, std::span<const NoiseLevel> past, DpmForm form, int order, bool taylor) {
  const NoiseLevel& from = past[0];
  const DpmStep step(form, from, to);
  Update u;
  u.of_x = step.a;
  u.of_f[0] = step.c * step.e1;
  if (order == 1) return u;

  const double r0 = (from.lambda - past[1].lambda) / step.h;  // slope_0 = (f_0 - f_-1) / r0
  if (order == 2) {
    const double slope = step.c * (taylor ? step.e2 : 0.5 * step.e1) / r0;
    u.of_f[0] += slope;
    u.of_f[1] -= slope;
    return u;
  }
  // D1 = slope_0 + r0 D2, D2 = (slope_0 - slope_1) / (r0 + r1), slope_1 = (f_-1 - f_-2) / r1.
  const double r1 = (past[1].lambda - past[2].lambda) / step.h;
  const double curve = step.c * (step.e2 * r0 + step.e3) / (r0 + r1);
  const double slope_0 = (step.c * step.e2 + curve) / r0, slope_1 = -curve / r1;
  u.of_f[0] += slope_0;
  u.of_f[1] += slope_1 - slope_0;
  u.of_f[2] -= slope_1;
  return u;
}

}  // namespace

void solve_dpm_multistep(const Run& run, DpmForm form) {
  const SamplerOptions& o = run.options;
  const Tensor x = run.x;
  std::array<Tensor, 3> f;  // f_0, f_-1, f_-2: rotated, never copied
  for (int k = 0; k < o.order; ++k) f[static_cast<size_t>(k)] = run.ctx.like(x);

  const std::vector<NoiseLevel> levels = dpm_levels(run);
  for (int i = 0; i < o.steps; ++i) {
    std::rotate(f.begin(), f.begin() + o.order - 1, f.begin() + o.order);
    const NoiseLevel &from = levels[static_cast<size_t>(i)], &to = levels[static_cast<size_t>(i) + 1];
    evaluate(run, form, x, from, f[0]);
    const int order = dpm_order(run, i, to);
    std::array<NoiseLevel, 3> past;
    for (int k = 0; k < order; ++k) past[static_cast<size_t>(k)] = levels[static_cast<size_t>(i - k)];
    const Update u = update_to(to, past, form, order, o.taylor);
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

}  // namespace uvic
