// Heun's method on the probability-flow ODE: an Euler step, and a second evaluation at its end that makes it a step of
// second order. In sigma (EDM, Karras et al., arXiv 2206.00364, algorithm 2, with its churn), or in t.

#include <array>
#include <cmath>

#include "kernels/ops/pointwise.h"
#include "sampler/solver.h"

namespace uvic {
namespace {

// The times that `steps` evaluations lead through, 0 at the end: two an interval, but one for the last, where nothing
// is left to evaluate, and for the one before it if steps is even.
std::vector<double> heun_times(const Run& run) {
  const SamplerOptions& o = run.options;
  std::vector<double> times = time_grid(run.schedule, run.spacing, o.steps / 2 + 1, o.t_start, o.t_end);
  times.push_back(0);
  return times;
}

bool second_evaluation(const Run& run, size_t interval) {
  const auto evaluations = static_cast<size_t>(run.options.steps);
  return 2 * interval + 2 < evaluations;  // with those of the intervals before, and one at least after it
}

}  // namespace

// With u = x / alpha and sigma = sigma_ve, the ODE is du/dsigma = eps.
void solve_heun(const Run& run) {
  const SamplerOptions& o = run.options;
  const Tensor x = run.x, end = run.ctx.like(x), slope = run.ctx.like(x), slope_end = run.ctx.like(x);
  const auto level_at = [&](double t) {
    if (t == 0) return Schedule::clean();
    NoiseLevel level = run.schedule.at(t);
    if (o.integer_labels) level.label = std::rint(level.label);
    return level;
  };
  const std::vector<double> times = heun_times(run);
  const size_t intervals = times.size() - 1;
  for (size_t i = 0; i < intervals; ++i) {
    NoiseLevel from = level_at(times[i]);
    const NoiseLevel to = level_at(times[i + 1]);
    const double sigma = from.sigma_ve(), share = o.churn.amount / static_cast<double>(intervals);
    if (share > 0 && o.churn.sigma_min <= sigma && sigma <= o.churn.sigma_max) {
      const double most = run.schedule.at(run.schedule.t_start()).sigma_ve();  // the network knows none above
      const double lifted = std::min((1 + std::min(share, std::sqrt(2.0) - 1)) * sigma, most);
      const NoiseLevel hat = level_at(run.schedule.inverse_lambda(-std::log(lifted)));
      const double fresh = std::sqrt(std::max(lifted * lifted - sigma * sigma, 0.0)) * o.churn.noise;
      run.noise(static_cast<int>(i), end);
      linear_combination(run.ctx, std::array<Term, 2>{{{hat.alpha / from.alpha, x}, {hat.alpha * fresh, end}}}, x);
      from = hat;
    }
    run.predict.eps(x, from, slope);
    const double of_x = to.alpha / from.alpha, step = to.alpha * (to.sigma_ve() - from.sigma_ve());
    if (second_evaluation(run, i)) {
      linear_combination(run.ctx, std::array<Term, 2>{{{of_x, x}, {step, slope}}}, end);
      run.predict.eps(end, to, slope_end);
      linear_combination(run.ctx, std::array<Term, 3>{{{of_x, x}, {step / 2, slope}, {step / 2, slope_end}}}, x);
    } else {
      linear_combination(run.ctx, std::array<Term, 2>{{{of_x, x}, {step, slope}}}, x);
    }
    run.stepped(static_cast<int>(i));
  }
}

// dx/dt = -beta/2 (x - eps / sigma)
void solve_heun_ode(const Run& run) {
  const Tensor x = run.x, end = run.ctx.like(x), eps = run.ctx.like(x), eps_end = run.ctx.like(x);
  const std::vector<double> times = heun_times(run);
  for (size_t i = 0; i + 1 < times.size(); ++i) {
    const NoiseLevel from = run.schedule.at(times[i]);
    const double half_dt = (times[i] - times[i + 1]) / 2, beta = run.schedule.beta(from.t);
    const double of_x = half_dt * beta, of_eps = -half_dt * beta / from.sigma;
    run.predict.eps(x, from, eps);
    if (second_evaluation(run, i)) {
      linear_combination(run.ctx, std::array<Term, 2>{{{1 + of_x, x}, {of_eps, eps}}}, end);
      const NoiseLevel to = run.schedule.at(times[i + 1]);
      run.predict.eps(end, to, eps_end);
      const double beta_end = run.schedule.beta(to.t), of_end = half_dt * beta_end / 2;
      const std::array<Term, 4> terms{
          {{1 + of_x / 2, x}, {of_eps / 2, eps}, {of_end, end}, {-of_end / to.sigma, eps_end}}};
      linear_combination(run.ctx, terms, x);
    } else {
      linear_combination(run.ctx, std::array<Term, 2>{{{1 + of_x, x}, {of_eps, eps}}}, x);
    }
    run.stepped(static_cast<int>(i));
  }
}

}  // namespace uvic
