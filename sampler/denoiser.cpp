#include "sampler/denoiser.h"

#include <array>
#include <cmath>
#include <utility>

#include "kernels/ops/pointwise.h"

namespace uvic {

Denoiser guided(Denoiser conditional, Denoiser paired, double scale) {
  UVIC_CHECK(std::isfinite(scale) && scale >= 0, "cfg-scale must be 0 or more (1 is no guidance), got ", scale);
  if (scale == 1) return conditional;
  return [paired = std::move(paired), scale](Context& ctx, Tensor x, double label, Tensor out) {
    const int64_t batch = x.dim(0);
    Shape shape = {2 * batch};
    for (int i = 1; i < x.rank(); ++i) shape.push_back(x.dim(i));
    const Tensor twice = ctx.empty(x.dtype(), shape), both = ctx.empty(x.dtype(), shape);
    const std::array<Term, 1> copy = {{{1.0, x}}};
    linear_combination(ctx, copy, twice.rows(0, batch));
    linear_combination(ctx, copy, twice.rows(batch, 2 * batch));
    paired(ctx, twice, label, both);
    const std::array<Term, 2> mix = {{{1 - scale, both.rows(0, batch)}, {scale, both.rows(batch, 2 * batch)}}};
    linear_combination(ctx, mix, out);
  };
}

void Predictor::evaluate(Tensor x, const NoiseLevel& level, Tensor out) const {
  auto scope = ctx_.scope("denoise");
  denoiser_(ctx_, x, level.label, out);
}

void Predictor::eps(Tensor x, const NoiseLevel& level, Tensor out) const {
  evaluate(x, level, out);
  if (prediction_ == Prediction::eps) return;
  const std::array<Term, 2> from_x0 = {{{1 / level.sigma, x}, {-level.alpha / level.sigma, out}}};
  const std::array<Term, 2> from_v = {{{level.sigma, x}, {level.alpha, out}}};
  linear_combination(ctx_, prediction_ == Prediction::x0 ? from_x0 : from_v, out);
}

void Predictor::x0(Tensor x, const NoiseLevel& level, Tensor out) const {
  evaluate(x, level, out);
  if (prediction_ != Prediction::x0) {
    const std::array<Term, 2> from_eps = {{{1 / level.alpha, x}, {-level.sigma / level.alpha, out}}};
    const std::array<Term, 2> from_v = {{{level.alpha, x}, {-level.sigma, out}}};
    linear_combination(ctx_, prediction_ == Prediction::eps ? from_eps : from_v, out);
  }
  const X0Bounds& b = bounds_;
  if (b.clip) clamp(ctx_, -1, 1, out);
  if (b.threshold_ratio > 0) dynamic_threshold(ctx_, b.threshold_ratio, b.threshold_floor, b.threshold_scale, out);
}

}  // namespace uvic
