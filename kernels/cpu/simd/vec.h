#pragma once

// Sixteen floats in one value (F32: one AVX-512 register, or two of AVX2) and the functions our loops need. Every
// function gives the same bits on both, lane by lane, and sums add in the same order.
//
// For files that are compiled once for each instruction set, with UVIC_ISA naming the copy. Everything stands in an
// anonymous namespace and is inlined: a copy with external linkage could be picked by the linker for a processor that
// cannot run it.
//
//   load(p), load(p, n)           16 or the first n lanes (0 <= n <= 16; the rest is 0) from float* or bf16*
//   store(p, a), store(p, a, n)   the mirror; to bf16 rounds to nearest even
//   + - * / and unary -, fma(a, b, c) = a * b + c, fnma(a, b, c) = c - a * b, sqrt, abs, copysign(a, sign_from)
//   times_sign(a, z) = a sign(z), sign(0) = 0;  flip(a, z) is -a where z has its sign bit set
//   max, min                      the second operand where one is NaN
//   <, ==, lanes_below(n)         Mask;  any(mask);  select(mask, yes, no);  keep(mask, a) is 0 in the other lanes

#ifdef __AVX512F__
#include "kernels/cpu/simd/f32x16_avx512.h"
#else
#include "kernels/cpu/simd/f32x16_avx2.h"
#endif

namespace uvic::cpu::UVIC_ISA {
namespace {

// ---- over the lanes of one value ------------------------------------------------------------------------------------
UVIC_INLINE float sum(F32 a) {
  const __m256 x8 = _mm256_add_ps(low(a), high(a));
  const __m128 x4 = _mm_add_ps(_mm256_castps256_ps128(x8), _mm256_extractf128_ps(x8, 1));
  const __m128 x2 = _mm_add_ps(x4, _mm_movehl_ps(x4, x4));
  return _mm_cvtss_f32(_mm_add_ss(x2, _mm_movehdup_ps(x2)));
}
UVIC_INLINE float max_of(F32 a) {
  const __m256 x8 = _mm256_max_ps(low(a), high(a));
  const __m128 x4 = _mm_max_ps(_mm256_castps256_ps128(x8), _mm256_extractf128_ps(x8, 1));
  const __m128 x2 = _mm_max_ps(x4, _mm_movehl_ps(x4, x4));
  return _mm_cvtss_f32(_mm_max_ss(x2, _mm_movehdup_ps(x2)));
}

// ---- with one number for every lane ---------------------------------------------------------------------------------
UVIC_INLINE F32 operator+(F32 a, float b) { return a + set(b); }
UVIC_INLINE F32 operator-(F32 a, float b) { return a - set(b); }
UVIC_INLINE F32 operator*(F32 a, float b) { return a * set(b); }
UVIC_INLINE F32 min(F32 a, float b) { return min(a, set(b)); }

// ---- exp ------------------------------------------------------------------------------------------------------------
// x = n ln2 + r, |r| <= ln2 / 2, exp(x) = 2^n exp(r). Adding 1.5 * 2^23 leaves n in the low bits of the sum, ready to
// be added to an exponent. Limits: the largest finite float, and 2^-126, below which the result is 0 (no denormals).
constexpr float kExpMax = 88.72283f, kExpMin = -87.33654f;

// exp(r) = 1 + r + r^2 p(r); minimax p of degree 4, relative error 3e-9 before rounding, about 1 ulp after it.
UVIC_INLINE F32 exp(F32 x) {
  const F32 magic = set(0x1.8p23f);
  const F32 y = min(set(kExpMax), x);  // in this order a NaN in x survives
  const F32 shifted = fma(y, set(0x1.715476p+0f), magic);
  const F32 n = shifted - magic;
  const F32 r = fnma(n, set(-0x1.05c610p-29f), fnma(n, set(0x1.62e430p-1f), y));
  F32 p = set(0x1.6a2434p-10f);
  p = fma(p, r, set(0x1.1239e2p-7f));
  p = fma(p, r, set(0x1.5558f2p-5f));
  p = fma(p, r, set(0x1.555492p-3f));
  p = fma(p, r, set(0x1.fffffcp-2f));
  p = fma(p * r, r, r) + set(1.0f);
  return select(x < set(kExpMin), set(0.0f), add_exponent(p, shifted));
}

// ---- what activations are made of -----------------------------------------------------------------------------------
// erf(x) = sign(x) (1 - exp(-|x| q(|x|))): -ln(erfc(x)) / x is smooth, so one polynomial serves the whole range. Beyond
// 4 the result is 1. Absolute error below 2e-7; relative error grows towards 0, which x Phi(x) does not see.
UVIC_INLINE F32 erf(F32 x) {
  const F32 a = min(set(4.0f), abs(x));
  F32 q = set(3.14401493e-5f);
  q = fma(q, a, set(-3.08802095e-4f));
  q = fma(q, a, set(1.03240142e-3f));
  q = fma(q, a, set(5.36933699e-4f));
  q = fma(q, a, set(-1.95839605e-2f));
  q = fma(q, a, set(1.02919613e-1f));
  q = fma(q, a, set(6.36597733e-1f));
  q = fma(q, a, set(1.12838025f));
  return copysign(set(1.0f) - exp(-(q * a)), x);
}

UVIC_INLINE F32 normal_cdf(F32 x) { return fma(erf(x * set(0.707106781f)), set(0.5f), set(0.5f)); }
UVIC_INLINE F32 gelu(F32 x) { return x * normal_cdf(x); }
UVIC_INLINE F32 gelu_derivative(F32 x) { return fma(x * set(0.398942280f), exp(x * x * set(-0.5f)), normal_cdf(x)); }
UVIC_INLINE F32 sigmoid(F32 x) { return set(1.0f) / (set(1.0f) + exp(-x)); }
UVIC_INLINE F32 silu(F32 x) { return x * sigmoid(x); }
UVIC_INLINE F32 silu_derivative(F32 x) {
  const F32 e = exp(-x), s = set(1.0f) / (set(1.0f) + e);
  return s * fma(x, e * s, set(1.0f));  // e s is 1 - s without its cancellation
}
UVIC_INLINE F32 quick_gelu(F32 x) { return x * sigmoid(x * set(1.702f)); }
UVIC_INLINE F32 quick_gelu_derivative(F32 x) { return silu_derivative(x * set(1.702f)); }

}  // namespace
}  // namespace uvic::cpu::UVIC_ISA
