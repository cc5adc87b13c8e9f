#pragma once

// F32 as two AVX2 registers. Contracts in vec.h, the only file that includes this one.

#include <immintrin.h>

#include "kernels/core/tensor.h"

#define UVIC_INLINE [[gnu::always_inline]] inline

namespace uvic::cpu::UVIC_ISA {
namespace {

struct F32 {
  static constexpr int kLanes = 16;
  __m256 lo, hi;
};
struct Mask {
  __m256 lo, hi;  // all ones in the lanes that count
};

UVIC_INLINE __m256i each(int x) { return _mm256_set1_epi32(x); }
UVIC_INLINE __m256i bits(__m256 x) { return _mm256_castps_si256(x); }
UVIC_INLINE __m256 floats(__m256i x) { return _mm256_castsi256_ps(x); }

UVIC_INLINE Mask lanes_below(int64_t n) {
  const __m256i limit = each(static_cast<int>(n)), lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return {floats(_mm256_cmpgt_epi32(limit, lanes)),
          floats(_mm256_cmpgt_epi32(limit, _mm256_add_epi32(lanes, each(8))))};
}

UVIC_INLINE F32 set(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
UVIC_INLINE F32 load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
UVIC_INLINE void store(float* p, F32 a) {
  _mm256_storeu_ps(p, a.lo);
  _mm256_storeu_ps(p + 8, a.hi);
}
UVIC_INLINE F32 load(const float* p, int64_t n) {
  const Mask m = lanes_below(n);
  return {_mm256_maskload_ps(p, bits(m.lo)), _mm256_maskload_ps(p + 8, bits(m.hi))};
}
UVIC_INLINE void store(float* p, F32 a, int64_t n) {
  const Mask m = lanes_below(n);
  _mm256_maskstore_ps(p, bits(m.lo), a.lo);
  _mm256_maskstore_ps(p + 8, bits(m.hi), a.hi);
}

UVIC_INLINE F32 load(const bf16* p) {
  const auto half = [](const bf16* q) {
    const __m128i h = _mm_loadu_si128(reinterpret_cast<const __m128i*>(q));
    return floats(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
  };
  return {half(p), half(p + 8)};
}
// Round to nearest even, as uvic::to_bf16.
UVIC_INLINE __m256i narrow(F32 a) {
  const auto half = [](__m256 x) {
    const __m256i u = bits(x), odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), each(1));
    const __m256i rounded = _mm256_add_epi32(u, _mm256_add_epi32(odd, each(0x7fff)));
    const __m256i quiet = _mm256_or_si256(u, each(0x400000));
    const __m256i nan = bits(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    return _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, nan), 16);
  };
  return _mm256_permute4x64_epi64(_mm256_packus_epi32(half(a.lo), half(a.hi)), 0xd8);
}
UVIC_INLINE void store(bf16* p, F32 a) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), narrow(a)); }
UVIC_INLINE F32 load(const bf16* p, int64_t n) {
  alignas(32) bf16 copy[16] = {};
  __builtin_memcpy(copy, p, static_cast<size_t>(n) * sizeof(bf16));
  return load(copy);
}
UVIC_INLINE void store(bf16* p, F32 a, int64_t n) {
  alignas(32) bf16 copy[16];
  store(copy, a);
  __builtin_memcpy(p, copy, static_cast<size_t>(n) * sizeof(bf16));
}

UVIC_INLINE F32 operator+(F32 a, F32 b) { return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)}; }
UVIC_INLINE F32 operator-(F32 a, F32 b) { return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)}; }
UVIC_INLINE F32 operator*(F32 a, F32 b) { return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)}; }
UVIC_INLINE F32 operator/(F32 a, F32 b) { return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)}; }
UVIC_INLINE F32 operator-(F32 a) {
  const __m256 sign_bit = _mm256_set1_ps(-0.0f);
  return {_mm256_xor_ps(a.lo, sign_bit), _mm256_xor_ps(a.hi, sign_bit)};
}
UVIC_INLINE F32 fma(F32 a, F32 b, F32 c) {
  return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
UVIC_INLINE F32 fnma(F32 a, F32 b, F32 c) {
  return {_mm256_fnmadd_ps(a.lo, b.lo, c.lo), _mm256_fnmadd_ps(a.hi, b.hi, c.hi)};
}
UVIC_INLINE F32 max(F32 a, F32 b) { return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)}; }
UVIC_INLINE F32 min(F32 a, F32 b) { return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)}; }
UVIC_INLINE F32 abs(F32 a) {
  const __m256 sign_bit = _mm256_set1_ps(-0.0f);
  return {_mm256_andnot_ps(sign_bit, a.lo), _mm256_andnot_ps(sign_bit, a.hi)};
}
UVIC_INLINE F32 sqrt(F32 a) { return {_mm256_sqrt_ps(a.lo), _mm256_sqrt_ps(a.hi)}; }
UVIC_INLINE bool any(Mask m) { return _mm256_movemask_ps(_mm256_or_ps(m.lo, m.hi)) != 0; }
UVIC_INLINE F32 select(Mask m, F32 yes, F32 no) {
  return {_mm256_blendv_ps(no.lo, yes.lo, m.lo), _mm256_blendv_ps(no.hi, yes.hi, m.hi)};
}
UVIC_INLINE F32 keep(Mask m, F32 a) { return {_mm256_and_ps(m.lo, a.lo), _mm256_and_ps(m.hi, a.hi)}; }
UVIC_INLINE F32 copysign(F32 a, F32 from) {
  const __m256 sign_bit = _mm256_set1_ps(-0.0f);
  return {_mm256_or_ps(_mm256_andnot_ps(sign_bit, a.lo), _mm256_and_ps(sign_bit, from.lo)),
          _mm256_or_ps(_mm256_andnot_ps(sign_bit, a.hi), _mm256_and_ps(sign_bit, from.hi))};
}
UVIC_INLINE F32 times_sign(F32 a, F32 z) {
  const auto half = [](__m256 x, __m256 y) {
    const __m256 nonzero = _mm256_cmp_ps(y, _mm256_setzero_ps(), _CMP_NEQ_UQ);
    return _mm256_and_ps(nonzero, _mm256_xor_ps(x, _mm256_and_ps(y, _mm256_set1_ps(-0.0f))));
  };
  return {half(a.lo, z.lo), half(a.hi, z.hi)};
}
UVIC_INLINE F32 flip(F32 a, F32 z) {
  const __m256 sign_bit = _mm256_set1_ps(-0.0f);
  return {_mm256_xor_ps(a.lo, _mm256_and_ps(z.lo, sign_bit)), _mm256_xor_ps(a.hi, _mm256_and_ps(z.hi, sign_bit))};
}
UVIC_INLINE Mask operator<(F32 a, F32 b) {
  return {_mm256_cmp_ps(a.lo, b.lo, _CMP_LT_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_LT_OQ)};
}
UVIC_INLINE Mask operator==(F32 a, F32 b) {
  return {_mm256_cmp_ps(a.lo, b.lo, _CMP_EQ_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_EQ_OQ)};
}
UVIC_INLINE F32 add_exponent(F32 a, F32 shifted) {
  const auto half = [](__m256 x, __m256 n) {
    return floats(_mm256_add_epi32(bits(x), _mm256_slli_epi32(bits(n), 23)));
  };
  return {half(a.lo, shifted.lo), half(a.hi, shifted.hi)};
}

UVIC_INLINE __m256 low(F32 a) { return a.lo; }
UVIC_INLINE __m256 high(F32 a) { return a.hi; }

}  // namespace
}  // namespace uvic::cpu::UVIC_ISA
