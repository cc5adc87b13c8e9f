// DDIM (Song et al., arXiv 2010.02502). The noise estimate is derived again from the (clipped) x0, as
// improved-diffusion does and diffusers does on request; without clipping that changes nothing.

#include <array>
#include <cmath>

#include "kernels/ops/pointwise.h"
#include "sampler/solver.h"

namespace uvic {

void solve_ddim(const Run& run) {
  const std::vector<NoiseLevel> levels = ancestral_levels(run);
  const Tensor x = run.x, x0 = run.ctx.like(x), z = run.options.eta > 0 ? run.ctx.like(x) : Tensor();
  for (int i = 0; i < run.options.steps; ++i) {
    const NoiseLevel &from = levels[static_cast<size_t>(i)], &to = levels[static_cast<size_t>(i) + 1];
    run.predict.x0(x, from, x0);

    const double beta = -std::expm1(2 * (from.log_alpha - to.log_alpha));
    const double fresh = run.options.eta * to.sigma / from.sigma * std::sqrt(beta);
    const double kept2 = to.sigma * to.sigma - fresh * fresh;
    UVIC_CHECK(kept2 >= 0, "ddim: eta ", run.options.eta, " asks step ", i, " for noise of deviation ", fresh,
               ", more than there is, ", to.sigma, "; eta up to 1 always fits");
    const double of_eps = std::sqrt(kept2) / from.sigma;  // eps = (x - alpha x0) / sigma
    const double of_x0 = to.alpha - of_eps * from.alpha;
    if (fresh > 0) {
      run.noise(i, z);
      linear_combination(run.ctx, std::array<Term, 3>{{{of_x0, x0}, {of_eps, x}, {fresh, z}}}, x);
    } else {
      linear_combination(run.ctx, std::array<Term, 2>{{{of_x0, x0}, {of_eps, x}}}, x);
    }
    run.stepped(i);
  }
}

}  // namespace uvic
