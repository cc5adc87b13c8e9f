#include "sampler/guidance.h"

#include <array>
#include <cmath>
#include <utility>

#include "kernels/ops/pointwise.h"

namespace uvic {

void validate(const Guidance& g) {
  UVIC_CHECK(std::isfinite(g.scale) && g.scale >= 0, "cfg-scale must be 0 or more (1 is no guidance), got ", g.scale);
  UVIC_CHECK(0 <= g.rescale && g.rescale <= 1, "cfg-rescale must be in [0, 1], got ", g.rescale);
  UVIC_CHECK(0 <= g.sigma_min && g.sigma_min < g.sigma_max, "cfg-interval must be two rising noise levels, got ",
             g.sigma_min, " and ", g.sigma_max);
  UVIC_CHECK(g.on() || (g.rescale == 0 && g.sigma_min == 0 && std::isinf(g.sigma_max)),
             "cfg-rescale and cfg-interval shape guidance, and a cfg-scale of 1 is none");
}

Denoiser guided(Denoiser conditional, Denoiser paired, const Guidance& guidance, const Schedule& schedule) {
  validate(guidance);
  if (!guidance.on()) return conditional;
  // Labels rise with noise: the interval is one of labels, too.
  const auto label_of = [&](double sigma) { return schedule.label(schedule.inverse_lambda(-std::log(sigma))); };
  const double none = -std::numeric_limits<double>::infinity();
  const double from = guidance.sigma_min > 0 ? label_of(guidance.sigma_min) : none;
  const double to = std::isfinite(guidance.sigma_max) ? label_of(guidance.sigma_max) : -none;
  return [=, conditional = std::move(conditional), paired = std::move(paired)](Context& ctx, Tensor x, double label,
                                                                               Tensor out) {
    if (label <= from || label > to) return conditional(ctx, x, label, out);
    const int64_t batch = x.dim(0);
    Shape shape = {2 * batch};
    for (int i = 1; i < x.rank(); ++i) shape.push_back(x.dim(i));
    const Tensor twice = ctx.empty(x.dtype(), shape), both = ctx.empty(x.dtype(), shape);
    const Tensor uncond = both.rows(0, batch), cond = both.rows(batch, 2 * batch);
    const std::array<Term, 1> copy = {{{1.0, x}}};
    linear_combination(ctx, copy, twice.rows(0, batch));
    linear_combination(ctx, copy, twice.rows(batch, 2 * batch));
    paired(ctx, twice, label, both);
    linear_combination(ctx, std::array<Term, 2>{{{1 - guidance.scale, uncond}, {guidance.scale, cond}}}, out);
    if (guidance.rescale > 0) match_deviation(ctx, cond, guidance.rescale, out);
  };
}

}  // namespace uvic
