#include "kernels/ops/pointwise.h"

#include <limits>

#include "tests/gradcheck.h"

namespace uvic::test {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr int64_t kLengths[] = {1, 5, 16, 1027, 40000};  // the last is more than two pieces

// x rounded as storing it in dtype does.
double stored(double x, DType dtype) {
  const auto single = static_cast<float>(x);
  return dtype == DType::f64 ? x : dtype == DType::f32 ? double(single) : double(to_float(to_bf16(single)));
}

class PointwiseTest : public ::testing::TestWithParam<Where> {
 protected:
  DType dtype() const { return GetParam().dtype; }
  Context ctx = context(GetParam());
};
INSTANTIATE_TEST_SUITE_P(Working, PointwiseTest, ::testing::ValuesIn(everywhere_and_gpu()), where_name);

// The sampler's dtypes.
using ExactTest = PointwiseTest;
INSTANTIATE_TEST_SUITE_P(Exact, ExactTest, ::testing::ValuesIn(everywhere_and_gpu({DType::f32, DType::f64})),
                         where_name);

// Images are f32 whatever the network works in.
using ImageTest = PointwiseTest;
INSTANTIATE_TEST_SUITE_P(Images, ImageTest, ::testing::ValuesIn(everywhere_and_gpu({DType::f32})), where_name);

TEST_P(PointwiseTest, CastRoundsOnce) {
  for (const int64_t n : kLengths)
    for (const DType other : {DType::f32, DType::bf16, DType::f64})
      for (const bool from : {true, false}) {
        const DType a = from ? dtype() : other, b = from ? other : dtype();
        SCOPED_TRACE(concat(n, ": ", a, " to ", b));
        const OwnedTensor src = random_tensor(a, {n}, 1, 3), dst = random_tensor(b, {n}, 2);
        cast(ctx, src.tensor, dst.tensor);
        for (int64_t i = 0; i < n; ++i) ASSERT_EQ(at(dst.tensor, i), stored(at(src.tensor, i), b));
      }
}

TEST_P(PointwiseTest, CastTiesGoToEvenAndSpecialsStay) {
  // Half way between bf16 neighbours 1 and 1 + 2^-7, and between 1 + 2^-7 and 1 + 2^-6; then just past the first.
  const std::vector<double> x = {1 + 0x1p-8, 1 + 3 * 0x1p-8, 1 + 0x1p-8 + 0x1p-20, -(1 + 0x1p-8), kInfinity,
                                 -0.0,       3.4e38};
  const std::vector<double> want = {1, 1 + 0x1p-6, 1 + 0x1p-7, -1, kInfinity, -0.0, kInfinity};
  const OwnedTensor src = tensor_of(DType::f32, {7}, x), dst(host(), DType::bf16, {7});
  cast(ctx, src.tensor, dst.tensor);
  EXPECT_EQ(values(dst.tensor), want);
  EXPECT_TRUE(std::signbit(at(dst.tensor, 5)));
  const OwnedTensor nan = tensor_of(DType::f32, {1}, {kNan}), bf16_nan(host(), DType::bf16, {1});
  cast(ctx, nan.tensor, bf16_nan.tensor);
  EXPECT_TRUE(std::isnan(at(bf16_nan.tensor, 0)));
}

TEST_P(PointwiseTest, AccumulateAdds) {
  for (const int64_t n : kLengths)
    for (const DType other : {DType::f32, DType::bf16}) {
      SCOPED_TRACE(concat(n, " of ", other));
      const OwnedTensor src = random_tensor(other, {n}, 1), dst = random_tensor(dtype(), {n}, 2);
      const auto before = values(dst.tensor);
      accumulate(ctx, src.tensor, dst.tensor);
      for (int64_t i = 0; i < n; ++i) {
        const double sum = static_cast<float>(before[size_t(i)] + at(src.tensor, i));
        ASSERT_EQ(at(dst.tensor, i), stored(sum, dtype()));
      }
    }
}

TEST_P(PointwiseTest, ZeroClearsEveryByteAndNoMore) {
  for (const int64_t n : {int64_t{1}, int64_t{1027}, int64_t{1} << 18}) {
    const OwnedTensor all = random_tensor(dtype(), {n + 2}, 1);
    const double first = at(all.tensor, 0), last = at(all.tensor, n + 1);
    zero(ctx, all.tensor.rows(1, n + 1));
    EXPECT_EQ(values(all.tensor.rows(1, n + 1)), std::vector<double>(size_t(n)));
    EXPECT_EQ(at(all.tensor, 0), first);
    EXPECT_EQ(at(all.tensor, n + 1), last);
  }
}

TEST_P(ExactTest, RandomNormalIsPhiloxRowByRow) {
  const std::vector<RandomKey> keys = {{.seed = 7, .draw = 3, .stream = Stream::solver_noise, .index = 0},
                                       {.seed = 0x123456789abcdefu, .draw = 0, .stream = Stream::initial_noise},
                                       {.seed = 7, .draw = 3, .stream = Stream::solver_noise, .index = 1}};
  for (const int64_t n : {1, 3, 4, 10, 3 * 32 * 32 + 1}) {
    const OwnedTensor out = random_tensor(dtype(), {3, n}, 1);
    random_normal(ctx, keys, out.tensor);
    for (int64_t row = 0; row < 3; ++row)
      for (int64_t i = 0; i < n; ++i)
        ASSERT_EQ(at(out.tensor, row * n + i), normal(philox(keys[size_t(row)], uint32_t(i / 4))).v[i % 4]);
  }
}

TEST_P(ExactTest, LinearCombinationSumsInDouble) {
  for (const int64_t n : kLengths)
    for (size_t count = 1; count <= 8; ++count) {
      std::vector<OwnedTensor> x;
      std::vector<Term> terms;
      for (size_t k = 0; k < count; ++k) {
        x.push_back(random_tensor(dtype(), {n}, k));
        terms.push_back({1.0 / double(k + 1) - 0.4, x[k].tensor});
      }
      std::vector<double> want(size_t(n), 0.0);
      for (const Term& t : terms)
        for (int64_t i = 0; i < n; ++i) want[size_t(i)] += t.coefficient * at(t.x, i);
      for (double& v : want) v = stored(v, dtype());
      const OwnedTensor out = random_tensor(dtype(), {n}, 99);
      linear_combination(ctx, terms, out.tensor);
      ASSERT_EQ(values(out.tensor), want);
      linear_combination(ctx, terms, x[count - 1].tensor);  // out is one of its terms
      ASSERT_EQ(values(x[count - 1].tensor), want);
    }
}

TEST_P(ExactTest, LinearCombinationKeepsWhatF32WouldCancel) {
  const OwnedTensor x = tensor_of(dtype(), {1}, {16777216.0}), y = tensor_of(dtype(), {1}, {1.0});
  const OwnedTensor out(host(), dtype(), {1});
  const std::vector<Term> terms = {{1, x.tensor}, {1, y.tensor}, {-1, x.tensor}};
  linear_combination(ctx, terms, out.tensor);
  EXPECT_EQ(at(out.tensor, 0), 1);
}

TEST_P(ExactTest, ClampBoundsAndLetsNanThrough) {
  const OwnedTensor x = tensor_of(dtype(), {7}, {-2, -1, -0.5, 0.75, 1, kInfinity, -kInfinity});
  clamp(ctx, -1, 1, x.tensor);
  EXPECT_EQ(values(x.tensor), (std::vector<double>{-1, -1, -0.5, 0.75, 1, 1, -1}));
  const OwnedTensor nan = tensor_of(dtype(), {1}, {kNan});
  clamp(ctx, -1, 1, nan.tensor);
  EXPECT_TRUE(std::isnan(at(nan.tensor, 0)));
}

TEST_P(ExactTest, DynamicThresholdIsPerImageAndLetsNanThrough) {
  // |x| sorted: 0, 1, 2, 4: the quantile at 0.5 is 1.5; the second image stays below floor; the third has a NaN.
  const OwnedTensor x = tensor_of(dtype(), {3, 4}, {-4, 1, 2, 0, 0.5, -0.25, 0, 0.125, 1, kNan, 0, 0});
  dynamic_threshold(ctx, 0.5, 1, 3, x.tensor);
  const std::vector<double> got = values(x.tensor);
  EXPECT_EQ(std::vector<double>(got.begin(), got.begin() + 8),
            (std::vector<double>{-3, 2, 3, 0, 1.5, -0.75, 0, 0.375}));
  for (size_t i = 8; i < 12; ++i) EXPECT_TRUE(std::isnan(got[i]));
  EXPECT_EQ(error_of([&] { dynamic_threshold(ctx, 2, 1, 1, x.tensor); }),
            "dynamic_threshold: ratio must be in [0, 1], got 2");
}

TEST_P(ExactTest, MatchDeviationGoesItsShareOfTheWay) {
  // Deviations 1 and 4 of the first images' x and reference, 0 and 2 of the second's.
  const std::vector<double> x{-1, 1, -1, 1, 3, 3, 3, 3};
  const OwnedTensor reference = tensor_of(dtype(), {2, 4}, {6, -2, -2, 6, 1, 5, 1, 5});
  for (const double share : {0.0, 0.5, 1.0}) {
    const OwnedTensor out = tensor_of(dtype(), {2, 4}, x);
    match_deviation(ctx, reference.tensor, share, out.tensor);
    const double factor = 1 + 3 * share;
    EXPECT_EQ(values(out.tensor), (std::vector<double>{-factor, factor, -factor, factor, 3, 3, 3, 3}));
  }
  EXPECT_EQ(error_of([&] { match_deviation(ctx, reference.tensor, 1.5, reference.tensor); }),
            "match_deviation: share must be in [0, 1], got 1.5");
}

TEST_P(ExactTest, BlendTakesAllOfWhatTheMaskKeeps) {
  const OwnedTensor x = tensor_of(dtype(), {4}, {8, 8, 8, 1e30}), a = tensor_of(dtype(), {4}, {4, 4, 4, 0.1}),
                    mask = tensor_of(dtype(), {4}, {0, 0.25, 1, 1});
  blend(ctx, mask.tensor, a.tensor, x.tensor);
  EXPECT_EQ(values(x.tensor), (std::vector<double>{8, 7, 4, at(a.tensor, 3)}));
}

TEST_P(ImageTest, Noising) {
  const Shape shape{11, 3, 30, 31};
  const int64_t n = shape.numel() / 11;
  const OwnedTensor x0 = random_tensor(DType::f32, shape, 1), eps = random_tensor(DType::f32, shape, 2);
  const OwnedTensor alpha = random_tensor(DType::f32, {11}, 3), sigma = random_tensor(DType::f32, {11}, 4);
  const OwnedTensor x_t = random_tensor(DType::f32, shape, 5);
  noising(ctx, x0.tensor, eps.tensor, alpha.tensor, sigma.tensor, x_t.tensor);
  std::vector<double> want;
  for (int64_t i = 0; i < shape.numel(); ++i)
    want.push_back(at(alpha.tensor, i / n) * at(x0.tensor, i) + at(sigma.tensor, i / n) * at(eps.tensor, i));
  EXPECT_CLOSE_MAX(values(x_t.tensor), want, op_tolerance(DType::f32));
}

TEST_P(ImageTest, PosteriorsAreMeanAndDeviationScaled) {
  const Shape shape{11, 3, 30, 31};
  const int64_t n = shape.numel() / 11;
  const OwnedTensor moments = random_tensor(DType::f32, {11, 6, 30, 31}, 1, 2),
                    noise = random_tensor(DType::f32, shape, 2), z = random_tensor(DType::f32, shape, 3);
  moments.tensor.data<float>()[n] = 50;  // of the first image's first log variance: taken as 20
  sample_posterior(ctx, moments.tensor, noise.tensor, 0.18215, z.tensor);
  std::vector<double> want;
  for (int64_t i = 0; i < shape.numel(); ++i) {
    const int64_t mean = i / n * 2 * n + i % n;
    const double log_variance = std::clamp(at(moments.tensor, mean + n), -30.0, 20.0);
    want.push_back(0.18215 * (at(moments.tensor, mean) + std::exp(log_variance / 2) * at(noise.tensor, i)));
  }
  const std::vector<double> got = values(z.tensor);
  for (size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(got[i], want[i], 1e-6 * std::max(1.0, std::abs(want[i]))) << i;
  EXPECT_EQ(error_of([&] { sample_posterior(ctx, noise.tensor, noise.tensor, 1, z.tensor); }),
            "sample_posterior: moments is f32 [11, 3, 30, 31], wanted f32 [11, 6, 30, 31]");
}

TEST_P(ImageTest, MseGivesEachImageItsLossAndTheGradientOfTheMean) {
  for (const Shape& shape : {Shape{1, 1}, Shape{3, 2, 5, 7}, Shape{11, 3, 32, 32}})
    for (const bool weighted : {false, true}) {
      SCOPED_TRACE(concat(shape, " weighted ", weighted));
      const int64_t B = shape[0], n = shape.numel() / B;
      const OwnedTensor pred = random_tensor(DType::f32, shape, 1), target = random_tensor(DType::f32, shape, 2);
      const OwnedTensor loss = random_tensor(DType::f32, {B}, 4), dpred = random_tensor(DType::f32, shape, 5);
      OwnedTensor weight;
      if (weighted) weight = random_tensor(DType::f32, {B}, 3);
      mse(ctx, pred.tensor, target.tensor, weight.tensor, loss.tensor, dpred.tensor);
      std::vector<double> want_loss(size_t(B), 0.0), want_dpred;
      for (int64_t i = 0; i < shape.numel(); ++i) {
        const double e = at(pred.tensor, i) - at(target.tensor, i), w = weighted ? at(weight.tensor, i / n) : 1;
        want_loss[size_t(i / n)] += e * e / double(n);
        want_dpred.push_back(w / double(B) * 2 * e / double(n));
      }
      EXPECT_CLOSE_MAX(values(loss.tensor), want_loss, op_tolerance(DType::f32));
      EXPECT_CLOSE_MAX(values(dpred.tensor), want_dpred, op_tolerance(DType::f32));
      const OwnedTensor alone(host(), DType::f32, {B});
      mse(ctx, pred.tensor, target.tensor, weight.tensor, alone.tensor, {});
      EXPECT_EQ(values(alone.tensor), values(loss.tensor));
    }
}

TEST_P(ImageTest, MseGradientAgreesWithDifferences) {
  const Shape shape{3, 2, 5};
  const OwnedTensor pred = random_tensor(DType::f32, shape, 1), target = random_tensor(DType::f32, shape, 2);
  const OwnedTensor weight = random_tensor(DType::f32, {3}, 3), loss(host(), DType::f32, {3}),
                    dpred(host(), DType::f32, shape);
  const auto step_loss = [&] {
    mse(ctx, pred.tensor, target.tensor, weight.tensor, loss.tensor, {});
    return projection(loss.tensor, weight.tensor) / 3;
  };
  mse(ctx, pred.tensor, target.tensor, weight.tensor, loss.tensor, dpred.tensor);
  EXPECT_GRADIENT((Variable{"pred", pred.tensor, dpred.tensor}), step_loss, 1e-4);
  // And the method sees one element of thirty that is a tenth off.
  int64_t largest = 0;
  for (int64_t i = 0; i < shape.numel(); ++i)
    if (std::abs(at(dpred.tensor, i)) > std::abs(at(dpred.tensor, largest))) largest = i;
  dpred.tensor.data<float>()[largest] *= 1.1f;
  EXPECT_GT(gradient_error({"pred", pred.tensor, dpred.tensor}, step_loss), 1e-2);
}

TEST_P(ImageTest, EveryPixelValueSurvivesTheRoundTrip) {
  const int64_t B = 50;  // two pieces
  std::vector<double> all(size_t(B * 128 * 3));
  for (size_t i = 0; i < all.size(); ++i) all[i] = double((i * 7) % 256);
  const OwnedTensor pixels = tensor_of(DType::u8, {B, 8, 16, 3}, all), back(host(), DType::u8, {B, 8, 16, 3});
  const OwnedTensor image = random_tensor(DType::f32, {B, 3, 8, 16}, 1);
  pixels_to_image(ctx, pixels.tensor, image.tensor);
  for (int64_t b = 0; b < B; ++b)
    for (int64_t c = 0; c < 3; ++c)
      for (int64_t i = 0; i < 128; ++i) {
        const auto v = static_cast<float>(at(pixels.tensor, (b * 128 + i) * 3 + c));
        ASSERT_EQ(at(image.tensor, (b * 3 + c) * 128 + i), v / 127.5f - 1);
      }
  image_to_pixels(ctx, image.tensor, back.tensor);
  EXPECT_EQ(values(back.tensor), values(pixels.tensor));
}

TEST_P(ImageTest, PixelsAreClampedAndRounded) {
  // 0.5 (v + 1) * 255 + 0.5 truncated: 127.5 + 0.5 is 128; 1/255 above and below half a step; outside; NaN.
  const std::vector<double> v = {-1, 1, 0, -3, 3, kNan, kInfinity, -kInfinity, 2 * 0.49 / 255 - 1, 2 * 0.51 / 255 - 1};
  const OwnedTensor image = tensor_of(DType::f32, {1, 1, 1, 10}, v),
                    pixels = random_tensor(DType::u8, {1, 1, 10, 1}, 1, 0);
  image_to_pixels(ctx, image.tensor, pixels.tensor);
  EXPECT_EQ(values(pixels.tensor), (std::vector<double>{0, 255, 128, 0, 255, 0, 255, 0, 0, 1}));
}

TEST_P(ImageTest, RefusesWrongArguments) {
  const OwnedTensor f32(host(), DType::f32, {2, 3}), wide(host(), DType::f32, {2, 4}), i32(host(), DType::i32, {2, 3});
  const OwnedTensor one(host(), DType::f32, {1}), image(host(), DType::f32, {1, 3, 4, 5}),
      pixels(host(), DType::u8, {1, 3, 4, 5});
  const Tensor x = f32.tensor;
  const std::vector<RandomKey> key(1);
  const std::vector<Term> no_terms, terms = {{1, x}, {1, wide.tensor}};
  EXPECT_EQ(error_of([&] { cast(ctx, x, wide.tensor); }), "cast: dst is f32 [2, 4], wanted f32 [2, 3]");
  EXPECT_EQ(error_of([&] { cast(ctx, i32.tensor, x); }), "cast: src is i32, wanted f32 or bf16 or f64");
  EXPECT_EQ(error_of([&] { accumulate(ctx, {}, x); }), "accumulate: src is empty");
  EXPECT_EQ(error_of([&] { zero(ctx, {}); }), "zero: dst is empty");
  EXPECT_EQ(error_of([&] { random_normal(ctx, key, x); }), "random_normal: 1 keys for out [2, 3]");
  EXPECT_EQ(error_of([&] { linear_combination(ctx, no_terms, x); }), "linear_combination: no terms");
  EXPECT_EQ(error_of([&] { linear_combination(ctx, terms, x); }),
            "linear_combination: x is f32 [2, 4], wanted f32 [2, 3]");
  EXPECT_EQ(error_of([&] { clamp(ctx, 1, -1, x); }), "clamp: lo 1 is above hi -1");
  EXPECT_EQ(error_of([&] { noising(ctx, x, x, one.tensor, one.tensor, x); }),
            "noising: alpha is f32 [1], wanted f32 [2]");
  EXPECT_EQ(error_of([&] { mse(ctx, x, x, {}, one.tensor, {}); }), "mse: loss is f32 [1], wanted f32 [2]");
  EXPECT_EQ(error_of([&] { pixels_to_image(ctx, pixels.tensor, image.tensor); }),
            "pixels_to_image: pixels is u8 [1, 3, 4, 5], wanted u8 [1, 4, 5, 3]");
  EXPECT_EQ(error_of([&] { image_to_pixels(ctx, pixels.tensor, pixels.tensor); }),
            "image_to_pixels: image is u8, wanted f32");
}

}  // namespace
}  // namespace uvic::test
