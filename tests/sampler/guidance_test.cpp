#include "sampler/guidance.h"

#include "kernels/ops/pointwise.h"
#include "tests/sampler/golden.h"

namespace uvic {
namespace {

using test::Golden;

const Schedule kSd = Schedule::named("sd", LabelKind::n);

// The rows' classes as the reference has them, 0 1 0 1 ...; 2 is "no class".
std::vector<int> alternating(int64_t batch) {
  std::vector<int> y;
  for (int64_t i = 0; i < batch; ++i) y.push_back(static_cast<int>(i % 2));
  return y;
}

class GuidanceOn : public ::testing::TestWithParam<Device> {
 protected:
  Context ctx{{.device = GetParam()}};
};
INSTANTIATE_TEST_SUITE_P(Devices, GuidanceOn, ::testing::ValuesIn(test::devices()), test::device_name);

TEST_P(GuidanceOn, MatchesTheReference) {
  const Golden golden;
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
    const Denoiser denoiser = guided(net.denoiser(nullptr, y), net.denoiser(nullptr, both), {.scale = scale}, kSd);
    std::vector<double> got;
    for (const double label : golden.values("cfg", size + ".label")) {
      const OwnedTensor out(test::host(), DType::f64, x.tensor.shape());
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
  guided(plain.denoiser(), paired.denoiser(), {}, kSd)(ctx, x.tensor, 7, got.tensor);
  EXPECT_EQ(plain.calls, 2);
  EXPECT_EQ(paired.calls, 0);
  EXPECT_EQ(test::values(got.tensor), test::values(want.tensor));
}

TEST(Guidance, OtherScalesCallOnceWithBothHalves) {
  Context ctx;
  Counted plain, paired;
  const OwnedTensor x = test::random_tensor(DType::f32, {3, 5}, 2), out({}, DType::f32, {3, 5});
  guided(plain.denoiser(), paired.denoiser(), {.scale = 2.5}, kSd)(ctx, x.tensor, 7, out.tensor);
  EXPECT_EQ(plain.calls, 0);
  EXPECT_EQ(paired.calls, 1);
  EXPECT_EQ(paired.rows, 6);
}

// Outside its interval of noise levels guidance is off, and costs one evaluation.
TEST(Guidance, IntervalIsOfNoiseLevels) {
  Context ctx;
  const OwnedTensor x = test::random_tensor(DType::f32, {3, 5}, 2), out({}, DType::f32, {3, 5});
  const Guidance guidance{.scale = 2, .sigma_min = kSd.at(0.3).sigma_ve(), .sigma_max = kSd.at(0.7).sigma_ve()};
  for (const auto& [t, on] : {std::pair(0.2, false), {0.299, false}, {0.301, true}, {0.699, true}, {0.701, false}}) {
    Counted plain, paired;
    guided(plain.denoiser(), paired.denoiser(), guidance, kSd)(ctx, x.tensor, kSd.label(t), out.tensor);
    EXPECT_EQ(plain.calls, on ? 0 : 1) << t;
    EXPECT_EQ(paired.calls, on ? 1 : 0) << t;
  }
}

// With rescale 1 each image has the deviation of its conditional prediction; between, a mixture.
TEST_P(GuidanceOn, RescaleTakesTheGainInContrastBack) {
  const OwnedTensor x = test::random_tensor(DType::f64, {2, 50}, 2);
  const Denoiser paired = [](Context&, Tensor twice, double, Tensor both) {
    std::vector<double> v = test::values(twice);
    for (size_t i = 0; i < v.size(); ++i) v[i] = i < v.size() / 2 ? 0.5 * v[i] + std::sin(double(i)) : 2 * v[i];
    test::assign(both, v);
  };
  const auto at_share = [&](double rescale) {
    const OwnedTensor out(test::host(), DType::f64, {2, 50});
    guided({}, paired, {.scale = 4, .rescale = rescale}, kSd)(ctx, x.tensor, 500, out.tensor);
    return test::values(out.tensor);
  };
  const auto deviation = [](const std::vector<double>& v, size_t image) {
    double mean = 0, square = 0;
    for (size_t i = 0; i < 50; ++i) mean += v[image * 50 + i] / 50;
    for (size_t i = 0; i < 50; ++i) square += std::pow(v[image * 50 + i] - mean, 2) / 50;
    return std::sqrt(square);
  };
  const std::vector<double> off = at_share(0), half = at_share(0.5), full = at_share(1), in = test::values(x.tensor);
  for (const size_t image : {0, 1}) {
    EXPECT_NEAR(deviation(full, image), 2 * deviation(in, image), 1e-12);
    EXPECT_GT(deviation(off, image), 1.2 * deviation(full, image));
  }
  for (size_t i = 0; i < off.size(); ++i) EXPECT_NEAR(half[i], (off[i] + full[i]) / 2, 1e-12);
}

TEST(Guidance, RefusesWhatDoesNotFit) {
  const auto error = [](const Guidance& g) { return test::error_of([&] { validate(g); }); };
  EXPECT_NE(error({.scale = -0.5}).find("cfg-scale must be 0 or more"), std::string::npos);
  EXPECT_NE(error({.scale = NAN}).find("cfg-scale"), std::string::npos);
  EXPECT_NE(error({.scale = 2, .rescale = 1.5}).find("cfg-rescale must be in [0, 1], got 1.5"), std::string::npos);
  EXPECT_NE(error({.scale = 2, .sigma_min = 3, .sigma_max = 2}).find("cfg-interval"), std::string::npos);
  EXPECT_NE(error({.rescale = 0.5}).find("a cfg-scale of 1 is none"), std::string::npos);
}

}  // namespace
}  // namespace uvic
