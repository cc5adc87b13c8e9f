#pragma once

// F32 as one AVX-512 register. Contracts in vec.h, the only file that includes this one.

// GCC 12 calls the deliberately undefined operands inside its own intrinsics uninitialized (GCC bug 105593).
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop

#include "kernels/core/tensor.h"

#define UVIC_INLINE [[gnu::always_inline]] inline

namespace uvic::cpu::UVIC_ISA {
namespace {

struct F32 {
  static constexpr int kLanes = 16;
  __m512 v;
};
struct Mask {
  __mmask16 v;
};

UVIC_INLINE __mmask16 first(int64_t n) { return static_cast<__mmask16>(_bzhi_u32(0xffffu, static_cast<unsigned>(n))); }

UVIC_INLINE F32 set(float x) { return {_mm512_set1_ps(x)}; }
UVIC_INLINE F32 load(const float* p) { return {_mm512_loadu_ps(p)}; }
UVIC_INLINE F32 load(const float* p, int64_t n) { return {_mm512_maskz_loadu_ps(first(n), p)}; }
UVIC_INLINE void store(float* p, F32 a) { _mm512_storeu_ps(p, a.v); }
UVIC_INLINE void store(float* p, F32 a, int64_t n) { _mm512_mask_storeu_ps(p, first(n), a.v); }

UVIC_INLINE F32 widen(__m256i h) { return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16))}; }
// Round to nearest even by integers, as uvic::to_bf16. (vcvtneps2bf16 would flush denormals.)
UVIC_INLINE __m256i narrow(F32 a) {
  const __m512i u = _mm512_castps_si512(a.v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(u, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __mmask16 nan = _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q);
  return _mm512_cvtepi32_epi16(
      _mm512_srli_epi32(_mm512_mask_or_epi32(rounded, nan, u, _mm512_set1_epi32(0x400000)), 16));
}
UVIC_INLINE F32 load(const bf16* p) { return widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }
UVIC_INLINE F32 load(const bf16* p, int64_t n) { return widen(_mm256_maskz_loadu_epi16(first(n), p)); }
UVIC_INLINE void store(bf16* p, F32 a) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), narrow(a)); }
UVIC_INLINE void store(bf16* p, F32 a, int64_t n) { _mm256_mask_storeu_epi16(p, first(n), narrow(a)); }

UVIC_INLINE F32 operator+(F32 a, F32 b) { return {_mm512_add_ps(a.v, b.v)}; }
UVIC_INLINE F32 operator-(F32 a, F32 b) { return {_mm512_sub_ps(a.v, b.v)}; }
UVIC_INLINE F32 operator*(F32 a, F32 b) { return {_mm512_mul_ps(a.v, b.v)}; }
UVIC_INLINE F32 operator/(F32 a, F32 b) { return {_mm512_div_ps(a.v, b.v)}; }
UVIC_INLINE F32 operator-(F32 a) { return {_mm512_xor_ps(a.v, _mm512_set1_ps(-0.0f))}; }
UVIC_INLINE F32 fma(F32 a, F32 b, F32 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }    // a * b + c
UVIC_INLINE F32 fnma(F32 a, F32 b, F32 c) { return {_mm512_fnmadd_ps(a.v, b.v, c.v)}; }  // c - a * b
UVIC_INLINE F32 max(F32 a, F32 b) { return {_mm512_max_ps(a.v, b.v)}; }                  // b where either is NaN
UVIC_INLINE F32 min(F32 a, F32 b) { return {_mm512_min_ps(a.v, b.v)}; }                  // b where either is NaN
UVIC_INLINE F32 abs(F32 a) { return {_mm512_andnot_ps(_mm512_set1_ps(-0.0f), a.v)}; }
UVIC_INLINE F32 sqrt(F32 a) { return {_mm512_sqrt_ps(a.v)}; }
UVIC_INLINE F32 copysign(F32 a, F32 from) {  // the sign bit from one, all else from the other
  const __m512i sign_bit = _mm512_set1_epi32(INT32_MIN);
  return {_mm512_castsi512_ps(
      _mm512_ternarylogic_epi32(sign_bit, _mm512_castps_si512(from.v), _mm512_castps_si512(a.v), 0xca))};
}
UVIC_INLINE Mask operator<(F32 a, F32 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
UVIC_INLINE Mask operator==(F32 a, F32 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ)}; }
UVIC_INLINE Mask lanes_below(int64_t n) { return {first(n)}; }
UVIC_INLINE bool any(Mask m) { return m.v != 0; }
UVIC_INLINE F32 select(Mask m, F32 yes, F32 no) { return {_mm512_mask_blend_ps(m.v, no.v, yes.v)}; }
UVIC_INLINE F32 keep(Mask m, F32 a) { return {_mm512_maskz_mov_ps(m.v, a.v)}; }  // 0 in the other lanes
UVIC_INLINE F32 times_sign(F32 a, F32 z) {
  const __mmask16 nonzero = _mm512_cmp_ps_mask(z.v, _mm512_setzero_ps(), _CMP_NEQ_UQ);
  return {
      _mm512_castsi512_ps(_mm512_maskz_ternarylogic_epi32(nonzero, _mm512_castps_si512(a.v), _mm512_castps_si512(z.v),
                                                          _mm512_set1_epi32(INT32_MIN), 0x78))};  // a ^ (z & sign bit)
}
UVIC_INLINE F32 flip(F32 a, F32 z) {
  return {_mm512_castsi512_ps(_mm512_ternarylogic_epi32(_mm512_castps_si512(a.v), _mm512_castps_si512(z.v),
                                                        _mm512_set1_epi32(INT32_MIN), 0x78))};
}
// a times 2^n, where the low nine bits of shifted's representation hold n: see exp.
UVIC_INLINE F32 add_exponent(F32 a, F32 shifted) {
  return {_mm512_castsi512_ps(
      _mm512_add_epi32(_mm512_castps_si512(a.v), _mm512_slli_epi32(_mm512_castps_si512(shifted.v), 23)))};
}

UVIC_INLINE __m256 low(F32 a) { return _mm512_castps512_ps256(a.v); }
UVIC_INLINE __m256 high(F32 a) { return _mm512_extractf32x8_ps(a.v, 1); }

}  // namespace
}  // namespace uvic::cpu::UVIC_ISA
