// Stochastic solvers draw from the right distribution: seeds are fixed, and every bound is 5 standard deviations of the
// estimate, so that a right solver fails for one seed in a million.

#include "kernels/ops/pointwise.h"
#include "tests/sampler/golden.h"

namespace uvic {
namespace {

using test::Golden;

std::vector<uint64_t> seeds(int n) {
  std::vector<uint64_t> s;
  for (int i = 0; i < n; ++i) s.push_back(static_cast<uint64_t>(i));
  return s;
}

struct Sampled {
  std::vector<double> values;
  int64_t row = 0;  // elements of one sample
};

Sampled draw(const Denoiser& denoiser, const SamplerOptions& options, int samples, const Shape& one) {
  Context ctx;
  Shape shape{samples};
  for (const int64_t d : one) shape.push_back(d);
  const OwnedTensor x({}, DType::f32, shape);
  initial_noise(ctx, seeds(samples), x.tensor);
  const Schedule schedule = Schedule::named("linear", LabelKind::index);
  sample(ctx, schedule, denoiser, options, solver_noise(ctx, seeds(samples)), x.tensor);
  return {test::values(x.tensor), x.tensor.numel() / samples};
}

const std::vector<SamplerOptions> kStochastic = {
    {.solver = "ddpm", .steps = 1000, .variance = "small"},
    {.solver = "ddpm", .steps = 1000, .variance = "large"},
    {.solver = "ddim", .steps = 1000, .eta = 0.5},
    {.solver = "euler-maruyama", .steps = 1000},
    {.solver = "sde-dpm++", .steps = 1000, .order = 1, .final_sigma = "zero"},
    {.solver = "sde-dpm++", .steps = 200, .order = 2, .final_sigma = "zero"},
    {.solver = "sde-dpm++", .steps = 200, .order = 3, .final_sigma = "zero"},
    {.solver = "heun", .steps = 199, .spacing = "karras", .churn = {.amount = 40, .sigma_min = 0.05, .sigma_max = 50}},
};

std::string name_of(const SamplerOptions& o) {
  return concat(o.solver, " order ", o.order, " eta ", o.eta, " variance ", o.variance);
}

// Data N(0, 0.25). Discretisation moves the variance too: by 5 % over 250 steps of ddpm, so by under 2 % here, a third
// of the bound.
TEST(Statistics, GaussianData) {
  const Golden golden;
  const Denoiser denoiser = test::ClosedForm(golden, "lin", "", {golden, "linear", "i in 0..999"}).denoiser();
  for (const SamplerOptions& options : kStochastic) {
    SCOPED_TRACE(name_of(options));
    const Sampled s = draw(denoiser, options, 64, {256});
    const auto n = static_cast<double>(s.values.size());
    double mean = 0, square = 0, fourth = 0, neighbours = 0;
    for (size_t i = 0; i < s.values.size(); ++i) {
      const double z = s.values[i] / 0.5;
      mean += z / n;
      square += z * z / n;
      fourth += z * z * z * z / n;
      neighbours += z * s.values[(i + 1) % s.values.size()] / 0.5 / n;
    }
    EXPECT_NEAR(mean, 0, 5 / std::sqrt(n));
    EXPECT_NEAR(square, 1, 5 * std::sqrt(2 / n));
    EXPECT_NEAR(fourth, 3, 5 * std::sqrt(96 / n));
    EXPECT_NEAR(neighbours, 0, 5 / std::sqrt(n));
  }
}

// The mixture: the modes get their weights, and around its mean each sample has the component's variance.
TEST(Statistics, MixtureData) {
  const Golden golden;
  const Denoiser denoiser = test::ClosedForm(golden, "gmm", "conv", {golden, "linear", "i in 0..999"}).denoiser();
  const std::vector<double> w = golden.values("networks", "gmm.conv.w"), mu = golden.values("networks", "gmm.conv.mu"),
                            var = golden.values("networks", "gmm.conv.var");
  constexpr int kSamples = 256;
  for (const SamplerOptions& options : kStochastic) {
    SCOPED_TRACE(name_of(options));
    const Sampled s = draw(denoiser, options, kSamples, {static_cast<int64_t>(mu.size() / 2)});
    double first = 0, chi2 = 0;
    for (int b = 0; b < kSamples; ++b) {
      double distance[2] = {0, 0}, log_det[2] = {0, 0};
      for (int64_t i = 0; i < s.row; ++i) {
        for (int64_t k = 0; k < 2; ++k) {
          const auto at = static_cast<size_t>(k * s.row + i);
          const double d = s.values[static_cast<size_t>(b * s.row + i)] - mu[at];
          distance[k] += d * d / var[at];
          log_det[k] += std::log(var[at]);
        }
      }
      const double log_odds = std::log(w[1] / w[0]) - 0.5 * (distance[1] + log_det[1] - distance[0] - log_det[0]);
      const double r1 = 1 / (1 + std::exp(-log_odds));  // posterior weights: their mean is w, whatever the overlap
      first += (1 - r1) / kSamples;
      chi2 += ((1 - r1) * distance[0] + r1 * distance[1]) / (kSamples * static_cast<double>(s.row));
    }
    EXPECT_NEAR(first, w[0], 5 * std::sqrt(w[0] * w[1] / kSamples));
    EXPECT_NEAR(chi2, 1, 5 * std::sqrt(2.0 / (kSamples * static_cast<double>(s.row))));
  }
}

}  // namespace
}  // namespace uvic
