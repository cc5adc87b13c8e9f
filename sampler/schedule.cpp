#include "sampler/schedule.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <string_view>

#include "kernels/core/error.h"
#include "kernels/core/text.h"

namespace uvic {
namespace {

// log(1 + exp(x)) without overflow.
double softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }

// lambda of log alpha, and back.
double lambda_of(double log_alpha) { return log_alpha - 0.5 * std::log(-std::expm1(2 * log_alpha)); }
double log_alpha_of(double lambda) { return -softplus(-2 * lambda) / 2; }

// The cosine schedule's angle at t.
constexpr double kCosineShift = 0.008;
double cosine_angle(double t) { return (t + kCosineShift) / (1 + kCosineShift) * (std::numbers::pi / 2); }

}  // namespace

Schedule Schedule::continuous(LabelKind labels) {
  UVIC_CHECK(labels == LabelKind::t || labels == LabelKind::t999,
             "schedule: a continuous schedule has no training steps to count; its labels are t or 999 t");
  Schedule s;
  s.labels_ = labels;
  return s;
}

Schedule Schedule::vp_sde(LabelKind labels, double beta_min, double beta_max) {
  UVIC_CHECK(0 < beta_min && beta_min <= beta_max, "schedule: need 0 < beta_min <= beta_max, got ", beta_min, " and ",
             beta_max);
  Schedule s = continuous(labels);
  s.beta_min_ = beta_min;
  s.beta_max_ = beta_max;
  return s;
}

Schedule Schedule::vp_cosine(LabelKind labels) {
  Schedule s = continuous(labels);
  s.cosine_ = true;
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
  constexpr std::string_view kZero = "-ztsnr";
  if (name.ends_with(kZero) && !name.starts_with("vp"))
    return named(name.substr(0, name.size() - kZero.size()), labels).zero_terminal_snr();
  if (name == "vp") return vp_sde(labels);
  if (name == "vp-cosine") return vp_cosine(labels);
  if (name == "linear") return discrete(linear_betas(1000), labels);
  if (name == "sd") return discrete(scaled_linear_betas(1000), labels);
  if (name == "cosine") return discrete(cosine_betas(1000), labels);
  fail("schedule \"", name, "\": must be one of ", join(schedule_names()));
}

Schedule Schedule::linear_in_lambda() const {
  UVIC_CHECK(knots(), "schedule: a continuous one has no knots to go between");
  Schedule s = *this;
  s.linear_in_lambda_ = true;
  return s;
}

Schedule Schedule::zero_terminal_snr() const {
  UVIC_CHECK(knots(), "schedule: zero terminal SNR is for discrete ones");
  Schedule s = *this;
  const double first = std::exp(log_alphas_.front()), last = std::exp(log_alphas_.back());
  for (double& log_alpha : s.log_alphas_)
    log_alpha = std::log(std::max(std::exp(log_alpha) - last, 0.0) * (first / (first - last)));
  return s;
}

Schedule Schedule::cut(double lambda_min) const {
  Schedule s = *this;
  const auto too_noisy = [&](double log_alpha) { return at_log_alpha(0, 0, log_alpha).lambda < lambda_min; };
  s.log_alphas_.erase(std::find_if(s.log_alphas_.begin(), s.log_alphas_.end(), too_noisy), s.log_alphas_.end());
  UVIC_CHECK(s.knots() >= 2, "schedule: cutting at lambda ", lambda_min, " leaves ", s.knots(), " of ", knots(),
             " knots");
  return s;
}

double Schedule::t_start() const { return cosine_ ? 0.9946 : 1; }
double Schedule::t_end() const { return knots() ? 1.0 / knots() : 1e-4; }

// The index of the knot below t, such that knot + 1 exists: t beyond the ends extends the outer segments.
int Schedule::segment_of_t(double t) const {
  return std::clamp(static_cast<int>(std::floor(t * knots() - 1)), 0, knots() - 2);
}

double Schedule::log_alpha(double t) const {
  if (cosine_) {  // log(cos b / cos a), where cos a - cos b = 2 sin((a + b) / 2) sin((b - a) / 2)
    const double a = cosine_angle(0), b = cosine_angle(t);
    return std::log1p(-2 * std::sin((a + b) / 2) * std::sin((b - a) / 2) / std::cos(a));
  }
  if (!knots()) return -t * t * (beta_max_ - beta_min_) / 4 - t * beta_min_ / 2;
  const int i = segment_of_t(t);
  const double* knot = log_alphas_.data() + i;
  const double share = t * knots() - 1 - i;
  if (share == 0) return knot[0];  // the next may be -infinity
  if (!linear_in_lambda_) return knot[0] + share * (knot[1] - knot[0]);
  const double lambda = lambda_of(knot[0]);
  return log_alpha_of(lambda + share * (lambda_of(knot[1]) - lambda));
}

double Schedule::beta(double t) const {
  if (cosine_) return std::numbers::pi / (1 + kCosineShift) * std::tan(cosine_angle(t));
  if (!knots()) return beta_min_ + t * (beta_max_ - beta_min_);
  // A step walks down from t, so at a knot the segment below counts; the small shift is far below 1/M.
  const double* knot = log_alphas_.data() + segment_of_t(t - 1e-9);
  if (linear_in_lambda_) {  // d log alpha / d lambda = sigma^2
    const double sigma2 = -std::expm1(2 * log_alpha(t));
    return -2 * sigma2 * (lambda_of(knot[1]) - lambda_of(knot[0])) * knots();
  }
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
  if (cosine_) {
    const double angle = std::acos(std::exp(-q / 2) * std::cos(cosine_angle(0)));
    return angle / (std::numbers::pi / 2) * (1 + kCosineShift) - kCosineShift;
  }
  if (!knots()) return 2 * q / (beta_min_ + std::sqrt(beta_min_ * beta_min_ + 2 * (beta_max_ - beta_min_) * q));
  const double log_alpha = -q / 2;
  const auto below = std::lower_bound(log_alphas_.begin(), log_alphas_.end(), log_alpha, std::greater<>());
  const int i = std::clamp(static_cast<int>(below - log_alphas_.begin()) - 1, 0, knots() - 2);
  const double* knot = log_alphas_.data() + i;
  const double share = linear_in_lambda_ ? (lambda - lambda_of(knot[0])) / (lambda_of(knot[1]) - lambda_of(knot[0]))
                                         : (log_alpha - knot[0]) / (knot[1] - knot[0]);
  return (i + 1 + share) / knots();
}

NoiseLevel Schedule::at(double t) const { return at_log_alpha(t, label(t), log_alpha(t)); }

NoiseLevel Schedule::at_log_alpha(double t, double label, double log_alpha) {
  const double sigma2 = -std::expm1(2 * log_alpha);
  return {.t = t,
          .label = label,
          .log_alpha = log_alpha,
          .alpha = std::exp(log_alpha),
          .sigma = std::sqrt(sigma2),
          .lambda = sigma2 > 0 ? lambda_of(log_alpha) : std::numeric_limits<double>::infinity()};
}

std::vector<std::string> schedule_names() {
  return {"vp", "vp-cosine", "linear", "sd", "cosine", "linear-ztsnr", "sd-ztsnr", "cosine-ztsnr"};
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
    const double c = std::cos(cosine_angle(u));
    return c * c;
  };
  std::vector<double> betas(static_cast<size_t>(n));
  for (int i = 0; i < n; ++i)
    betas[static_cast<size_t>(i)] = std::min(1 - alpha_bar((i + 1.0) / n) / alpha_bar(double(i) / n), 0.999);
  return betas;
}

}  // namespace uvic
