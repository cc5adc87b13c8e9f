// Ancestral sampling (Ho et al., arXiv 2006.11239), respaced as in Nichol & Dhariwal, arXiv 2102.09672: the betas of a
// subset of steps follow from its alphas alone, so any list of levels will do.

#include <array>
#include <cmath>

#include "kernels/ops/pointwise.h"
#include "sampler/solver.h"

namespace uvic {

void solve_ddpm(const Run& run) {
  const std::vector<NoiseLevel> levels = ancestral_levels(run);
  const Tensor x = run.x, x0 = run.ctx.like(x), z = run.ctx.like(x);
  for (int i = 0; i < run.options.steps; ++i) {
    const NoiseLevel &from = levels[static_cast<size_t>(i)], &to = levels[static_cast<size_t>(i) + 1];
    run.predict.x0(x, from, x0);

    const double log_ratio = from.log_alpha - to.log_alpha;
    const double beta = -std::expm1(2 * log_ratio);
    const double shrink = (to.sigma * to.sigma) / (from.sigma * from.sigma);
    const double of_x0 = beta * to.alpha / (from.sigma * from.sigma);
    const double of_x = std::exp(log_ratio) * shrink;
    if (to.sigma == 0) {  // the step to clean data is its mean
      linear_combination(run.ctx, std::array<Term, 2>{{{of_x0, x0}, {of_x, x}}}, x);
    } else {
      run.noise(i, z);
      const double variance = run.options.variance == "large" ? beta : beta * shrink;
      linear_combination(run.ctx, std::array<Term, 3>{{{of_x0, x0}, {of_x, x}, {std::sqrt(variance), z}}}, x);
    }
    run.stepped(i);
  }
}

}  // namespace uvic
