#include "sampler/denoiser.h"

#include "kernels/ops/pointwise.h"
#include "tests/sampler/golden.h"

namespace uvic {
namespace {

using test::Golden;

class DenoiserOn : public ::testing::TestWithParam<Device> {
 protected:
  Context ctx{{.device = GetParam()}};
};
INSTANTIATE_TEST_SUITE_P(Devices, DenoiserOn, ::testing::ValuesIn(test::devices()), test::device_name);

// A network that knows the truth, x = alpha x0 + sigma n, and gives it in each of the three forms.
TEST_P(DenoiserOn, EveryPredictionGivesTheSameNoiseAndImage) {
  const Schedule schedule = Schedule::named("vp", LabelKind::t999);
  const Shape shape{2, 3, 4};
  const std::vector<double> x0 = test::values(test::random_tensor(DType::f64, shape, 1, 1.5).tensor),
                            n = test::values(test::random_tensor(DType::f64, shape, 2).tensor);
  for (const double t : {1e-4, 0.3, 1.0}) {
    const NoiseLevel level = schedule.at(t);
    const auto mix = [&](double a, double b) {
      std::vector<double> v(n.size());
      for (size_t i = 0; i < v.size(); ++i) v[i] = a * x0[i] + b * n[i];
      return v;
    };
    const OwnedTensor x = test::tensor_of(DType::f64, shape, mix(level.alpha, level.sigma));
    for (const auto& [prediction, answer] : {std::pair{Prediction::eps, n}, std::pair{Prediction::x0, x0},
                                             std::pair{Prediction::v, mix(-level.sigma, level.alpha)}}) {
      const Denoiser oracle = [&](Context&, Tensor, double label, Tensor out) {
        EXPECT_EQ(label, 999 * t);
        test::assign(out, answer);
      };
      const OwnedTensor out(test::host(), DType::f64, shape);
      const Predictor predict(ctx, oracle, prediction, {}), clipped(ctx, oracle, prediction, {.clip = true});
      predict.eps(x.tensor, level, out.tensor);
      EXPECT_LE(test::max_difference(test::values(out.tensor), n), 1e-10);
      predict.x0(x.tensor, level, out.tensor);
      EXPECT_LE(test::max_difference(test::values(out.tensor), x0), 1e-10);
      clipped.x0(x.tensor, level, out.tensor);
      std::vector<double> inside = x0;
      for (double& v : inside) v = std::clamp(v, -1.0, 1.0);
      EXPECT_NE(inside, x0);
      EXPECT_LE(test::max_difference(test::values(out.tensor), inside), 1e-10);
    }
  }
}

TEST_P(DenoiserOn, DynamicThresholdMatchesTheReference) {
  const test::Golden golden;
  const auto run = [&](double floor, double scale, const char* want) {
    const OwnedTensor x = golden.tensor("dpm_solver_pp", "threshold.x0", DType::f64);
    dynamic_threshold(ctx, 0.995, floor, scale, x.tensor);
    EXPECT_LE(test::max_difference(test::values(x.tensor), golden.values("dpm_solver_pp", want)), 1e-12) << want;
  };
  run(1, 1, "threshold.out");
  run(1, 2, "threshold.out_uvit_max_val2");
  run(2, 1, "threshold.out_lu_max_val2");
}

}  // namespace
}  // namespace uvic
