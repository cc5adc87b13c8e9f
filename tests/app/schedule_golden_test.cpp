// The schedules of training runs, with the labels their networks get, against the released code.

#include "app/loaded_model.h"
#include "tests/golden_model.h"

namespace uvic::test {
namespace {

constexpr double kTolerance = 1e-6;  // relative: the data is f32

void expect_near(double got, double want, const char* what, int64_t i) {
  EXPECT_NEAR(got, want, kTolerance * std::abs(want)) << what << " " << i;
}

TEST(GoldenSchedule, StableDiffusion) {
  const SafetensorsFile file(reference_dir("uvic") / "schedules.safetensors");
  const auto column = [&](const char* name) { return values(copy(file, name, DType::f64).tensor); };
  const auto n = column("sd/n"), beta = column("sd/beta"), cum_alpha = column("sd/cum_alpha");
  const auto alpha = column("sd/sqrt_cum_alpha"), sigma = column("sd/sqrt_cum_beta");
  const Schedule schedule = schedule_of("sd");
  const std::vector<double> betas = scaled_linear_betas(schedule.knots());
  int64_t compared = 0;
  for (size_t i = 0; i < n.size(); ++i) {
    if (n[i] == 0) continue;  // the clean image: no knot
    const int64_t step = static_cast<int64_t>(n[i]);
    const NoiseLevel level = schedule.at(n[i] / schedule.knots());
    expect_near(betas[static_cast<size_t>(step) - 1], beta[i], "beta", step);
    expect_near(std::exp(2 * level.log_alpha), cum_alpha[i], "cum_alpha", step);
    expect_near(level.alpha, alpha[i], "alpha", step);
    expect_near(level.sigma, sigma[i], "sigma", step);
    expect_near(level.label, n[i], "label", step);
    ++compared;
  }
  EXPECT_EQ(compared, schedule.knots());
}

TEST(GoldenSchedule, VpSde) {
  const SafetensorsFile file(reference_dir("uvic") / "schedules.safetensors");
  const auto column = [&](const char* name) { return values(copy(file, name, DType::f64).tensor); };
  const auto t = column("vpsde/t"), cum_alpha = column("vpsde/cum_alpha");
  const auto alpha = column("vpsde/alpha"), sigma = column("vpsde/sigma");
  const Schedule schedule = schedule_of("vp");
  for (size_t i = 0; i < t.size(); ++i) {
    const NoiseLevel level = schedule.at(t[i]);
    expect_near(std::exp(2 * level.log_alpha), cum_alpha[i], "cum_alpha", static_cast<int64_t>(i));
    expect_near(level.alpha, alpha[i], "alpha", static_cast<int64_t>(i));
    expect_near(level.sigma, sigma[i], "sigma", static_cast<int64_t>(i));
    expect_near(level.label, 999 * t[i], "label", static_cast<int64_t>(i));
  }
  EXPECT_FALSE(t.empty());
}

}  // namespace
}  // namespace uvic::test
