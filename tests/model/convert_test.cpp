#include "model/io/convert.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "tests/check.h"

namespace uvic::test {
namespace {

TEST(HalfToFloat, AllValues) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const int exponent = static_cast<int>(bits >> 10 & 31);
    const double fraction = bits & 1023;
    const double sign = bits & 0x8000 ? -1 : 1;
    const float got = half_to_float(static_cast<uint16_t>(bits));
    EXPECT_EQ(std::signbit(got), sign < 0) << bits;
    if (exponent == 31) {
      EXPECT_EQ(std::isnan(got), fraction != 0) << bits;
      EXPECT_EQ(std::isinf(got), fraction == 0) << bits;
    } else {
      EXPECT_EQ(got, sign * (exponent ? std::ldexp(1024 + fraction, exponent - 25) : std::ldexp(fraction, -24)))
          << bits;
    }
  }
}

TEST(FloatToHalf, TheNearestOfAllValuesOrTheEvenOne) {
  for (uint32_t bits = 0; bits < 0x7c00; ++bits) {
    const auto here = static_cast<uint16_t>(bits), sign = uint16_t{0x8000};
    const float x = half_to_float(here), next = bits == 0x7bff ? 65536.0f : half_to_float(here + 1);
    const float middle = x / 2 + next / 2;  // exact
    const auto above = static_cast<uint16_t>(bits + 1);
    ASSERT_EQ(float_to_half(x), here);
    ASSERT_EQ(float_to_half(-x), here | sign);
    ASSERT_EQ(float_to_half(middle), bits % 2 ? above : here) << bits;
    ASSERT_EQ(float_to_half(std::nextafter(middle, 0.0f)), here);
    ASSERT_EQ(float_to_half(-std::nextafter(middle, 1e9f)), above | sign);
  }
  EXPECT_EQ(float_to_half(1e9f), 0x7c00);
  EXPECT_EQ(float_to_half(-std::numeric_limits<float>::infinity()), 0xfc00);
  EXPECT_TRUE(std::isnan(half_to_float(float_to_half(std::numeric_limits<float>::quiet_NaN()))));
  EXPECT_EQ(float_to_half(1e-30f), 0);
}

template <class T>
Tensor view(std::vector<T>& v, DType dtype) {
  return {v.data(), dtype, {static_cast<int64_t>(v.size())}};
}

TEST(Convert, EveryDtypeOfAFileToEveryWorkingDtype) {
  const std::vector<double> want{0, 1, 2, 5};
  std::vector<uint16_t> half{0, 0x3c00, 0x4000, 0x4500};
  std::vector<uint8_t> truth{0, 1, 1, 255};  // any byte but 0 is true
  for (const DType to : {DType::f32, DType::bf16, DType::f64, DType::i64, DType::i32}) {
    OwnedTensor got({}, to, {2, 2});
    for (const DType from : {DType::f32, DType::bf16, DType::f64, DType::i32, DType::u8}) {
      convert(tensor_of(from, {4}, want).tensor, got.tensor);
      EXPECT_EQ(values(got.tensor), want) << from << " to " << to;
    }
    convert(view(half, DType::f16), got.tensor);
    EXPECT_EQ(values(got.tensor), want) << to;
    convert(view(truth, DType::boolean), got.tensor);
    EXPECT_EQ(values(got.tensor), (std::vector<double>{0, 1, 1, 1})) << to;
  }
}

TEST(Convert, KeepsWideIntegersAndRoundsToEven) {
  std::vector<int64_t> wide{(int64_t{1} << 53) + 1, std::numeric_limits<int64_t>::min()}, back(2);
  convert(view(wide, DType::i64), view(back, DType::i64));
  EXPECT_EQ(back, wide);
  std::vector<float> x{1.00390625f, 1.01171875f};  // halfway between two bf16
  std::vector<bf16> y(2);
  convert(view(x, DType::f32), view(y, DType::bf16));
  EXPECT_EQ(to_float(y[0]), 1.0f);
  EXPECT_EQ(to_float(y[1]), 1.015625f);
}

TEST(Convert, ReadsUnalignedSources) {
  alignas(8) char bytes[17];
  const double x[2] = {1.5, -7};
  std::memcpy(bytes + 1, x, sizeof x);
  OwnedTensor got({}, DType::f32, {2});
  convert(Tensor(bytes + 1, DType::f64, {2}), got.tensor);
  EXPECT_EQ(values(got.tensor), (std::vector<double>{1.5, -7}));
}

TEST(Convert, RefusesWhatDoesNotFit) {
  const auto to = [](DType from, double x, DType dtype) {
    return error_of([&] { convert(tensor_of(from, {1}, {x}).tensor, OwnedTensor({}, dtype, {1}).tensor); });
  };
  EXPECT_NE(to(DType::f32, 0.5, DType::i64), "");
  EXPECT_NE(to(DType::f64, 0x1p63, DType::i64), "");
  EXPECT_NE(to(DType::f64, std::nan(""), DType::i32), "");
  EXPECT_NE(to(DType::f64, 0x1p31, DType::i32), "");
  EXPECT_NE(to(DType::f32, 1, DType::u8), "");
  std::vector<int64_t> wide{int64_t{1} << 31};
  EXPECT_NE(error_of([&] { convert(view(wide, DType::i64), OwnedTensor({}, DType::i32, {1}).tensor); }), "");
  EXPECT_NE(error_of([&] { convert(view(wide, DType::i64), OwnedTensor({}, DType::f32, {2}).tensor); }), "");

  std::vector<double> edge{-0x1p63};
  std::vector<int64_t> got(1);
  convert(view(edge, DType::f64), view(got, DType::i64));
  EXPECT_EQ(got[0], std::numeric_limits<int64_t>::min());
}

}  // namespace
}  // namespace uvic::test
