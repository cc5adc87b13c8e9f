#include "sampler/schedule.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "kernels/core/error.h"

namespace uvic {
namespace {

// log(1 + exp(x)) without overflow.
double softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }

}  // namespace

Schedule Schedule::vp_sde(LabelKind labels, double beta_min, double beta_max) {
  UVIC_CHECK(0 < beta_min && beta_min <= beta_max, "schedule: need 0 < beta_min <= beta_max, got ", beta_min, " and ",
             beta_max);
  UVIC_CHECK(labels == LabelKind::t || labels == LabelKind::t999,
             "schedule: a continuous schedule has no training steps to count; its labels are t or 999 t");
  Schedule s;
  s.beta_min_ = beta_min;
  s.beta_max_ = beta_max;
  s.labels_ = labels;
  return s;
}

Schedule Schedule::discrete(std::span<const double> betas, LabelKind labels) {
  UVIC_CHECK(betas.size() >= 2, "schedule: need at least two betas, got ", betas.size());
  Schedule s;
  s.labels_ = labels;
  s.training_steps_ = static_cast<double>(betas.size());
  double sum = 0;
  for (const double beta : betas) {
    UVIC_CHECK(0 < beta && beta < 1, "schedule: every beta must be in (0, 1), got ", beta);
    sum += 0.5 * std::log1p(-beta);
    s.log_alphas_.push_back(sum);
  }
  return s;
}

Schedule Schedule::named(const std::string& name, LabelKind labels) {
  if (name == "vp") return vp_sde(labels);
  if (name == "linear") return discrete(linear_betas(1000), labels);
  if (name == "sd") return discrete(scaled_linear_betas(1000), labels);
  if (name == "cosine") return discrete(cosine_betas(1000), labels);
  fail("schedule \"", name, "\": must be one of vp, linear, sd, cosine");
}

Schedule Schedule::cut(double lambda_min) const {
  Schedule s = *this;
  const auto too_noisy = [&](double log_alpha) { return at_log_alpha(0, 0, log_alpha).lambda < lambda_min; };
  s.log_alphas_.erase(std::find_if(s.log_alphas_.begin(), s.log_alphas_.end(), too_noisy), s.log_alphas_.end());
  UVIC_CHECK(s.knots() >= 2, "schedule: cutting at lambda ", lambda_min, " leaves ", s.knots(), " of ", knots(),
             " knots");
  return s;
}

double Schedule::t_end() const { return knots() ? 1.0 / knots() : 1e-4; }

// The index of the knot below t, such that knot + 1 exists: t beyond the ends extends the outer segments.
int Schedule::segment_of_t(double t) const {
  return std::clamp(static_cast<int>(std::floor(t * knots() - 1)), 0, knots() - 2);
}

double Schedule::log_alpha(double t) const {
  if (!knots()) return -t * t * (beta_max_ - beta_min_) / 4 - t * beta_min_ / 2;
  const int i = segment_of_t(t);
  const double* knot = log_alphas_.data() + i;
  return knot[0] + (t * knots() - 1 - i) * (knot[1] - knot[0]);
}

double Schedule::beta(double t) const {
  if (!knots()) return beta_min_ + t * (beta_max_ - beta_min_);
  // A step walks down from t, so at a knot the segment below counts; the small shift is far below 1/M.
  const double* knot = log_alphas_.data() + segment_of_t(t - 1e-9);
  return -2 * (knot[1] - knot[0]) * knots();
}

double Schedule::label(double t) const {
  switch (labels_) {
    case LabelKind::t: return t;
    case LabelKind::t999: return 999 * t;
    case LabelKind::n: return training_steps_ * t;
    case LabelKind::index: return training_steps_ * (t - 1.0 / knots());
  }
  return t;
}

double Schedule::inverse_lambda(double lambda) const {
  const double q = softplus(-2 * lambda);  // -2 log alpha
  if (!knots()) return 2 * q / (beta_min_ + std::sqrt(beta_min_ * beta_min_ + 2 * (beta_max_ - beta_min_) * q));
  const double log_alpha = -q / 2;
  const auto below = std::lower_bound(log_alphas_.begin(), log_alphas_.end(), log_alpha, std::greater<>());
  const int i = std::clamp(static_cast<int>(below - log_alphas_.begin()) - 1, 0, knots() - 2);
  const double* knot = log_alphas_.data() + i;
  return (i + 1 + (log_alpha - knot[0]) / (knot[1] - knot[0])) / knots();
}

NoiseLevel Schedule::at(double t) const { return at_log_alpha(t, label(t), log_alpha(t)); }

NoiseLevel Schedule::at_log_alpha(double t, double label, double log_alpha) {
  const double sigma2 = -std::expm1(2 * log_alpha);
  return {.t = t,
          .label = label,
          .log_alpha = log_alpha,
          .alpha = std::exp(log_alpha),
          .sigma = std::sqrt(sigma2),
          .lambda = sigma2 > 0 ? log_alpha - 0.5 * std::log(sigma2) : std::numeric_limits<double>::infinity()};
}

std::vector<double> linear_betas(int n, double first, double last) {
  std::vector<double> betas(static_cast<size_t>(n));
  for (int i = 0; i < n; ++i) betas[static_cast<size_t>(i)] = first + (last - first) * i / (n - 1);
  return betas;
}

std::vector<double> scaled_linear_betas(int n, double first, double last) {
  std::vector<double> betas = linear_betas(n, std::sqrt(first), std::sqrt(last));
  for (double& beta : betas) beta *= beta;
  return betas;
}

std::vector<double> cosine_betas(int n) {
  const auto alpha_bar = [](double u) {
    const double c = std::cos((u + 0.008) / 1.008 * std::numbers::pi / 2);
    return c * c;
  };
  std::vector<double> betas(static_cast<size_t>(n));
  for (int i = 0; i < n; ++i)
    betas[static_cast<size_t>(i)] = std::min(1 - alpha_bar((i + 1.0) / n) / alpha_bar(double(i) / n), 0.999);
  return betas;
}

}  // namespace uvic
