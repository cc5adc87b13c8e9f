#include "model/io/convert.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "kernels/ops/transfer.h"

namespace uvic {
namespace {

struct Half {
  uint16_t bits;
};
struct Bool {
  uint8_t byte;  // PyTorch and safetensors store 0 or 1; a bool with another byte would be undefined behaviour
};

// Every element becomes a double, except that 64-bit integers stay integers: above 2^53 a double would round them.
int64_t widen(int64_t x) { return x; }
int64_t widen(int32_t x) { return x; }
int64_t widen(uint8_t x) { return x; }
int64_t widen(Bool x) { return x.byte != 0; }
double widen(double x) { return x; }
double widen(float x) { return double{x}; }
double widen(bf16 x) { return double{to_float(x)}; }
double widen(Half x) { return double{half_to_float(x.bits)}; }

template <class To, class Wide>
To narrow(Wide x) {
  if constexpr (std::is_same_v<To, bf16>) {
    return to_bf16(static_cast<float>(x));
  } else if constexpr (std::is_same_v<To, Half>) {
    return {float_to_half(static_cast<float>(x))};
  } else if constexpr (std::is_integral_v<To> && std::is_floating_point_v<Wide>) {
    // The bounds are powers of two, hence exact doubles; the upper one is itself out of range.
    constexpr double kLimit = -static_cast<double>(std::numeric_limits<To>::min());
    UVIC_CHECK(std::trunc(x) == x && x >= -kLimit && x < kLimit, "convert: ", x, " is not an integer of ",
               dtype_of<To>());
    return static_cast<To>(x);
  } else if constexpr (std::is_integral_v<To>) {
    UVIC_CHECK(std::in_range<To>(x), "convert: ", x, " does not fit ", dtype_of<To>());
    return static_cast<To>(x);
  } else {
    return static_cast<To>(x);
  }
}

template <class From, class To>
void convert_all(const void* src, void* dst, int64_t n) {
  auto* in = static_cast<const char*>(src);
  auto* out = static_cast<To*>(dst);
  for (int64_t i = 0; i < n; ++i) {
    From x;
    std::memcpy(&x, in + static_cast<size_t>(i) * sizeof(From), sizeof(From));
    out[i] = narrow<To>(widen(x));
  }
}

template <class To>
void convert_to(Tensor src, Tensor dst) {
  const int64_t n = src.numel();
  switch (src.dtype()) {
    case DType::f32: return convert_all<float, To>(src.raw(), dst.raw(), n);
    case DType::bf16: return convert_all<bf16, To>(src.raw(), dst.raw(), n);
    case DType::f16: return convert_all<Half, To>(src.raw(), dst.raw(), n);
    case DType::f64: return convert_all<double, To>(src.raw(), dst.raw(), n);
    case DType::i64: return convert_all<int64_t, To>(src.raw(), dst.raw(), n);
    case DType::i32: return convert_all<int32_t, To>(src.raw(), dst.raw(), n);
    case DType::u8: return convert_all<uint8_t, To>(src.raw(), dst.raw(), n);
    case DType::boolean: return convert_all<Bool, To>(src.raw(), dst.raw(), n);
  }
}

}  // namespace

float half_to_float(uint16_t bits) {
  // Shifting exponent and fraction into place leaves a float 2^112 too small, subnormals included: the multiplication
  // is exact. Infinities and NaNs are the one exponent that it does not carry over.
  const uint32_t magnitude = uint32_t{bits & 0x7fffu} << 13;
  const float value = magnitude < 0x0f800000u ? std::bit_cast<float>(magnitude) * 0x1p112f
                                              : std::bit_cast<float>(magnitude | 0x7f800000u);
  return bits & 0x8000u ? -value : value;
}

uint16_t float_to_half(float x) {
  const uint32_t u = std::bit_cast<uint32_t>(x), sign = u >> 16 & 0x8000u, magnitude = u & 0x7fffffffu;
  uint32_t bits;
  if (magnitude > 0x7f800000u) {
    bits = 0x7e00u;                       // a quiet NaN
  } else if (magnitude >= 0x477ff000u) {  // 65520, from where on the nearest is beyond the largest, 65504
    bits = 0x7c00u;
  } else if (magnitude < 0x38800000u) {  // subnormal: steps of 2^-24, which are those of floats from 0.5 on
    bits = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - std::bit_cast<uint32_t>(0.5f);
  } else {
    bits = (magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1u)) >> 13;
  }
  return static_cast<uint16_t>(sign | bits);
}

void convert(Tensor src, Tensor dst) {
  UVIC_CHECK(src.numel() == dst.numel(), "convert: src ", src.shape(), " and dst ", dst.shape(), " differ in size");
  if (src.dtype() == dst.dtype()) {
    if (src.numel() > 0) std::memcpy(dst.raw(), src.raw(), src.bytes());
    return;
  }
  switch (dst.dtype()) {
    case DType::f32: return convert_to<float>(src, dst);
    case DType::bf16: return convert_to<bf16>(src, dst);
    case DType::f16: return convert_to<Half>(src, dst);
    case DType::f64: return convert_to<double>(src, dst);
    case DType::i64: return convert_to<int64_t>(src, dst);
    case DType::i32: return convert_to<int32_t>(src, dst);
    default: fail("convert: dst is ", dst.dtype(), "; wanted f32, bf16, f16, f64, i64 or i32");
  }
}

void convert(Context& ctx, Tensor src, Tensor dst) {
  const OwnedTensor host = host_for(ctx, dst);
  convert(src, host.tensor);
  upload(ctx, host.tensor, dst);
}

}  // namespace uvic
