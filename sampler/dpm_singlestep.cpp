// DPM-Solver and DPM-Solver++, single-step: an outer step of order p evaluates the network p times, at its start and at
// points between, and keeps nothing for the next. See dpm.h for the notation.

#include <array>
#include <span>

#include "kernels/ops/pointwise.h"
#include "sampler/dpm.h"

namespace uvic {
namespace {

// An outer step: its ends, its order, and where its inner evaluations lie, as shares of h.
struct Outer {
  double from, to;  // t
  int order;
  double r1, r2;
};

// Orders of outer steps that take `steps` evaluations in all; the remainder goes to the last ones, in lower order.
std::vector<int> orders_for(int steps, int order) {
  std::vector<int> orders(static_cast<size_t>(steps / order), order);
  const int rest = steps % order;
  if (rest > 0) orders.push_back(rest);
  if (order == 3 && rest == 0) orders.back() = 2, orders.push_back(1);  // as published: it ends in a first-order step
  return orders;
}

// "singlestep-fixed": steps / order outer steps of one order. "fast": as many evaluations as steps, on a grid with one
// interval an evaluation, so that the inner ones lie at its points. "singlestep": the same, but uniform in lambda the
// grid has one interval an outer step.
std::vector<Outer> outer_steps(const Run& run) {
  const SamplerOptions& o = run.options;
  const bool fixed = o.method == "singlestep-fixed";
  const std::vector<int> orders =
      fixed ? std::vector<int>(static_cast<size_t>(o.steps / o.order), o.order) : orders_for(o.steps, o.order);
  const bool inner_grid = !fixed && (o.method == "fast" || run.spacing != Spacing::logsnr);
  const int intervals = inner_grid ? o.steps : static_cast<int>(orders.size());
  const std::vector<double> grid = time_grid(run.schedule, run.spacing, intervals + 1, o.t_start, o.t_end);
  std::vector<Outer> outer;
  size_t at = 0;
  for (const int order : orders) {
    const size_t next = at + static_cast<size_t>(inner_grid ? order : 1);
    Outer step{grid[at], grid[next], order, order == 2 ? 0.5 : 1.0 / 3, 2.0 / 3};
    if (inner_grid && order > 1) {
      const auto lambda = [&](size_t i) { return run.schedule.at(grid[i]).lambda; };
      const double h = lambda(next) - lambda(at);
      step.r1 = (lambda(at + 1) - lambda(at)) / h;
      step.r2 = order > 2 ? (lambda(at + 2) - lambda(at)) / h : 0;
    }
    outer.push_back(step);
    at = next;
  }
  return outer;
}

}  // namespace

void solve_dpm_singlestep(const Run& run, DpmForm form) {
  const SamplerOptions& o = run.options;
  const Tensor x = run.x, inner = run.ctx.like(x);
  std::array<Tensor, 3> f;
  for (Tensor& t : f) t = run.ctx.like(x);
  const auto combine = [&](std::initializer_list<Term> terms, Tensor out) {
    linear_combination(run.ctx, std::span(terms.begin(), terms.size()), out);
  };

  int done = 0;
  for (const Outer& outer : outer_steps(run)) {
    const NoiseLevel from = run.schedule.at(outer.from), to = run.schedule.at(outer.to);
    const DpmStep step(form, from, to);
    const auto between = [&](double r) {
      return run.schedule.at(run.schedule.inverse_lambda(from.lambda + r * step.h));
    };
    evaluate(run, form, x, from, f[0]);
    if (outer.order == 1) {
      combine({{step.a, x}, {step.c * step.e1, f[0]}}, x);
    } else {
      const NoiseLevel first = between(outer.r1);
      const DpmStep to_first(form, from, first);
      combine({{to_first.a, x}, {to_first.c * to_first.e1, f[0]}}, inner);
      evaluate(run, form, inner, first, f[1]);
    }
    if (outer.order == 2) {
      const double slope = step.c * (o.taylor ? step.e2 : 0.5 * step.e1) / outer.r1;
      combine({{step.a, x}, {step.c * step.e1 - slope, f[0]}, {slope, f[1]}}, x);
    } else if (outer.order == 3) {
      const NoiseLevel second = between(outer.r2);
      const DpmStep to_second(form, from, second);
      const double lean = to_second.c * to_second.e2 * outer.r2 / outer.r1;
      combine({{to_second.a, x}, {to_second.c * to_second.e1 - lean, f[0]}, {lean, f[1]}}, inner);
      evaluate(run, form, inner, second, f[2]);
      // Taylor: D1 = (r2 a - r1 b) / (r2 - r1), D2 = 2 (b - a) / (r2 - r1) of slopes a = (f1 - f0) / r1, b = (f2 - f0)
      // / r2.
      double of_a = 0, of_b = step.c * step.e2;
      if (o.taylor) {
        const double d1 = step.c * step.e2 / (outer.r2 - outer.r1), d2 = 2 * step.c * step.e3 / (outer.r2 - outer.r1);
        of_a = d1 * outer.r2 - d2;
        of_b = d2 - d1 * outer.r1;
      }
      const double of_1 = of_a / outer.r1, of_2 = of_b / outer.r2;
      combine({{step.a, x}, {step.c * step.e1 - of_1 - of_2, f[0]}, {of_1, f[1]}, {of_2, f[2]}}, x);
    }
    run.stepped(done++);
  }
  if (o.denoise) {
    run.predict.x0(x, run.schedule.at(o.t_end), f[0]);
    combine({{1.0, f[0]}}, x);
    run.stepped(done);
  }
}

}  // namespace uvic
