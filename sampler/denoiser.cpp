#include "sampler/denoiser.h"

#include <array>

#include "kernels/ops/pointwise.h"

namespace uvic {

void Predictor::evaluate(Tensor x, const NoiseLevel& level, Tensor out) const {
  auto scope = ctx_.scope("denoise");
  denoiser_(ctx_, x, level.label, out);
}

void Predictor::eps(Tensor x, const NoiseLevel& level, Tensor out) const {
  evaluate(x, level, out);
  if (prediction_ != Prediction::eps) {
    const std::array<Term, 2> from_x0 = {{{1 / level.sigma, x}, {-level.alpha / level.sigma, out}}};
    const std::array<Term, 2> from_v = {{{level.sigma, x}, {level.alpha, out}}};
    linear_combination(ctx_, prediction_ == Prediction::x0 ? from_x0 : from_v, out);
  }
  if (known_.x0) {
    auto scope = ctx_.scope("known");
    const Tensor eps = ctx_.like(x);
    linear_combination(ctx_, std::array<Term, 2>{{{1 / level.sigma, x}, {-level.alpha / level.sigma, known_.x0}}}, eps);
    blend(ctx_, known_.keep, eps, out);
  }
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
  if (known_.x0) blend(ctx_, known_.keep, known_.x0, out);
}

}  // namespace uvic
