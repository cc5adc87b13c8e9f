// UniPC (Zhao et al., arXiv 2302.04867), the B(h) form, orders 1 to 3: a multistep predictor and a corrector that uses
// the evaluation at the predicted point, so that each step still costs one. See dpm.h for the notation; rho are the
// weights of the differences D_k = (f_-k - f_0) / r_k, r_k = (lambda_-k - lambda_0) / h, and of f_t - f_0, where r
// is 1.

#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include "kernels/ops/pointwise.h"
#include "sampler/dpm.h"

namespace uvic {
namespace {

constexpr int kMaxOrder = 3;
using Row = std::array<double, kMaxOrder>;

// The n unknowns of a n x n system, by elimination with pivots.
Row solve(std::array<Row, kMaxOrder> m, Row b, int n) {
  const auto size = static_cast<size_t>(n);
  for (size_t i = 0; i < size; ++i) {
    size_t pivot = i;
    for (size_t j = i + 1; j < size; ++j)
      if (std::abs(m[j][i]) > std::abs(m[pivot][i])) pivot = j;
    std::swap(m[i], m[pivot]), std::swap(b[i], b[pivot]);
    for (size_t j = i + 1; j < size; ++j) {
      const double factor = m[j][i] / m[i][i];
      for (size_t k = i; k < size; ++k) m[j][k] -= factor * m[i][k];
      b[j] -= factor * b[i];
    }
  }
  Row x{};
  for (size_t i = size; i-- > 0;) {
    x[i] = b[i];
    for (size_t k = i + 1; k < size; ++k) x[i] -= m[i][k] * x[k];
    x[i] /= m[i][i];
  }
  return x;
}

// Both updates of one step of order p; r[p - 1] is 1.
struct Weights {
  Row r{}, predictor{}, corrector{};
  double factor = 0;  // C B(h)

  Weights(const DpmStep& step, std::span<const NoiseLevel> past, int p, bool bh1) {
    const double big_b = bh1 ? step.z : step.e1;
    factor = step.c * big_b;
    const auto order = static_cast<size_t>(p);
    for (size_t k = 0; k + 1 < order; ++k) r[k] = (past[k + 1].lambda - past[0].lambda) / step.h;
    r[order - 1] = 1;
    std::array<Row, kMaxOrder> powers{};
    Row b{};
    double q = step.e1 / step.z - 1, factorial = 1;
    for (size_t j = 0; j < order; ++j) {
      for (size_t k = 0; k < order; ++k) powers[j][k] = std::pow(r[k], static_cast<double>(j));
      b[j] = factorial * q / big_b;
      factorial *= static_cast<double>(j) + 2;
      q = q / step.z - 1 / factorial;
    }
    // Low orders take 1/2 in place of the solution, which the paper shows to be as good.
    if (p == 2) predictor[0] = 0.5;
    if (p > 2) predictor = solve(powers, b, p - 1);
    if (p == 1) corrector[0] = 0.5;
    if (p > 1) corrector = solve(powers, b, p);
  }
};

}  // namespace

void solve_unipc(const Run& run) {
  const SamplerOptions& o = run.options;
  const DpmForm form = o.eps_form ? DpmForm::eps : DpmForm::x0;
  const Tensor x = run.x, ahead = run.ctx.like(x);
  std::array<Tensor, kMaxOrder + 1> f;  // f_t, then f_0, f_-1, f_-2: rotated, never copied
  for (Tensor& t : f) t = run.ctx.like(x);
  const std::vector<NoiseLevel> levels = dpm_levels(run);

  evaluate(run, form, x, levels[0], f[1]);
  for (int i = 1; i <= o.steps; ++i) {
    int p = std::min(o.order, i);
    if (o.lower_order_final) p = std::min(p, o.steps + 1 - i);
    std::array<NoiseLevel, kMaxOrder> past;
    for (int k = 0; k < p; ++k) past[static_cast<size_t>(k)] = levels[static_cast<size_t>(i - 1 - k)];
    const NoiseLevel& to = levels[static_cast<size_t>(i)];
    if (to.sigma == 0) p = 1;  // h is infinite: the result is f_0
    const DpmStep step(form, past[0], to);
    const Weights weights(step, past, p, o.bh1);

    // A x + C E1 f_0 + C B (sum_k rho_k D_k + rho_p (f_t - f_0)): the terms with k < p, and that of f_t if there is
    // one.
    const auto update = [&](const Row& rho, bool corrects, Tensor out) {
      std::array<Term, kMaxOrder + 2> terms;
      double of_f0 = step.c * step.e1;
      size_t count = 2;
      for (size_t k = 0; k + 1 < static_cast<size_t>(p); ++k) {
        const double w = weights.factor * rho[k] / weights.r[k];
        terms[count++] = {w, f[k + 2]};
        of_f0 -= w;
      }
      if (corrects) {
        const double w = weights.factor * rho[static_cast<size_t>(p) - 1];
        terms[count++] = {w, f[0]};
        of_f0 -= w;
      }
      terms[0] = {step.a, x};
      terms[1] = {of_f0, f[1]};
      linear_combination(run.ctx, std::span(terms).first(count), out);
    };
    if (i == o.steps) {
      update(weights.predictor, false, x);
    } else {
      update(weights.predictor, false, ahead);
      evaluate(run, form, ahead, to, f[0]);
      update(weights.corrector, true, x);
      std::rotate(f.begin(), f.end() - 1, f.end());  // f_t becomes f_0; it is not evaluated again at the corrected x
    }
    run.stepped(i - 1);
  }
}

}  // namespace uvic
