#include "sampler/denoiser.h"

#include "kernels/ops/pointwise.h"
#include "tests/sampler/golden.h"

namespace uvic {
namespace {

using test::Golden;

// The rows' classes as the reference has them, 0 1 0 1 ...; 2 is "no class".
std::vector<int> alternating(int64_t batch) {
  std::vector<int> y;
  for (int64_t i = 0; i < batch; ++i) y.push_back(static_cast<int>(i % 2));
  return y;
}

TEST(Guidance, MatchesTheReference) {
  const Golden golden;
  Context ctx;
  int checked = 0;
  for (const std::string& name : golden.file("cfg").names()) {  // <size>.usual_scale_<v>, <size>.uvit_scale_<v>
    const size_t dot = name.find('.'), at = name.find("_scale_");
    const std::string size = name.substr(0, dot);
    if (at == std::string::npos || (size != "small" && size != "big")) continue;
    SCOPED_TRACE(name);
    const double scale = std::stod(name.substr(at + 7)) + (name.substr(dot + 1).starts_with("uvit") ? 1 : 0);
    const OwnedTensor x = golden.tensor("cfg", size + ".x", DType::f64);
    const std::vector<int> y = alternating(x.tensor.dim(0));
    std::vector<int> both(y.size(), 2);
    both.insert(both.end(), y.begin(), y.end());
    const test::ClosedForm net(golden, "gmm", size, {golden, "sd", "1000*t"});
    const Denoiser denoiser = guided(net.denoiser(nullptr, y), net.denoiser(nullptr, both), scale);
    std::vector<double> got;
    for (const double label : golden.values("cfg", size + ".label")) {
      const OwnedTensor out({}, DType::f64, x.tensor.shape());
      auto scope = ctx.scope("guided");
      denoiser(ctx, x.tensor, label, out.tensor);
      const std::vector<double> v = test::values(out.tensor);
      got.insert(got.end(), v.begin(), v.end());
    }
    const std::vector<double> want = golden.values("cfg", name);
    EXPECT_LE(test::relative_max(got, want), 1e-10);
    ++checked;
  }
  EXPECT_GT(checked, 0);
}

struct Counted {
  int64_t calls = 0, rows = 0;
  Denoiser denoiser() {
    return [this](Context& ctx, Tensor x, double, Tensor out) {
      ++calls;
      rows += x.dim(0);
      const Term twice{2, x};
      linear_combination(ctx, {&twice, 1}, out);
    };
  }
};

TEST(Guidance, ScaleOneIsThePlainNetworkAndOneEvaluation) {
  Context ctx;
  Counted plain, paired;
  const OwnedTensor x = test::random_tensor(DType::f32, {3, 5, 7}, 1), got({}, DType::f32, {3, 5, 7}),
                    want({}, DType::f32, {3, 5, 7});
  plain.denoiser()(ctx, x.tensor, 7, want.tensor);
  guided(plain.denoiser(), paired.denoiser(), 1)(ctx, x.tensor, 7, got.tensor);
  EXPECT_EQ(plain.calls, 2);
  EXPECT_EQ(paired.calls, 0);
  EXPECT_EQ(test::values(got.tensor), test::values(want.tensor));
}

TEST(Guidance, OtherScalesCallOnceWithBothHalves) {
  Context ctx;
  Counted plain, paired;
  const OwnedTensor x = test::random_tensor(DType::f32, {3, 5}, 2), out({}, DType::f32, {3, 5});
  guided(plain.denoiser(), paired.denoiser(), 2.5)(ctx, x.tensor, 7, out.tensor);
  EXPECT_EQ(plain.calls, 0);
  EXPECT_EQ(paired.calls, 1);
  EXPECT_EQ(paired.rows, 6);
}

TEST(Guidance, RefusesNegativeScales) {
  Counted n;
  EXPECT_NE(test::error_of([&] { guided(n.denoiser(), n.denoiser(), -0.5); }).find("cfg-scale"), std::string::npos);
  EXPECT_NE(test::error_of([&] { guided(n.denoiser(), n.denoiser(), NAN); }).find("cfg-scale"), std::string::npos);
}

// A network that knows the truth, x = alpha x0 + sigma n, and gives it in each of the three forms.
TEST(Predictor, EveryPredictionGivesTheSameNoiseAndImage) {
  Context ctx;
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
      const OwnedTensor out({}, DType::f64, shape);
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

TEST(DynamicThreshold, MatchesTheReference) {
  const test::Golden golden;
  Context ctx;
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
