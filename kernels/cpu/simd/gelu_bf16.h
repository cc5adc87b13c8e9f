#pragma once

// GELU and its derivative for results that are rounded to bf16: half the instructions of vec.h's, so that they fit
// beside tile products. AVX-512 only.
//
//   Phi(x) = 1 / (1 + 2^-z),   z(x) = log2(Phi(x) / Phi(-x)) = x q(x^2)
//
// q is even and smooth: degree 4 is enough. For |x| < 3, x Phi(x) is within 4e-4 of its size, where rounding to bf16 is
// 4e-3 of it; for greater x within 4e-5 of its size; for lesser x within 2e-5. A test walks through all of them.

#include "kernels/cpu/simd/vec.h"

namespace uvic::cpu::UVIC_ISA {
namespace {

// 2^z, relative error 8e-5, for |z| <= 126: 2^(z - floor(z)) by a polynomial.
UVIC_INLINE F32 rough_exp2(F32 z) {
  const F32 r = {_mm512_reduce_ps(z.v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC)};  // z - floor(z)
  F32 p = set(0.07802456669f);
  p = fma(p, r, set(0.2260671992f));
  p = fma(p, r, set(0.6958334666f));
  p = fma(p, r, set(0.9999252325f));
  return {_mm512_scalef_ps(p.v, z.v)};  // floors z by itself
}

UVIC_INLINE F32 rough_reciprocal(F32 x) { return {_mm512_rcp14_ps(x.v)}; }  // relative error 6e-5

// Beyond 6, Phi is as good as 0 or 1; denormal numbers, which take the processor a hundred cycles, stay far away.
UVIC_INLINE F32 within_six(F32 x) { return max(set(-6.0f), min(set(6.0f), x)); }  // in this order a NaN survives

// 2^-z(x) = (1 - Phi) / Phi, for |x| <= 6.
UVIC_INLINE F32 normal_odds(F32 x, F32 square) {
  F32 q = set(2.055352794e-6f);
  q = fma(q, square, set(-5.950889460e-5f));
  q = fma(q, square, set(-5.775574108e-4f));
  q = fma(q, square, set(0.1057890959f));
  q = fma(q, square, set(2.301685267f));
  return rough_exp2(-(x * q));
}

UVIC_INLINE F32 gelu_bf16(F32 x) {
  const F32 y = within_six(x);
  return x * rough_reciprocal(set(1.0f) + normal_odds(y, y * y));
}

// Phi + x phi = Phi (1 + x (1 - Phi) w(x^2)), w = phi / (Phi (1 - Phi)). Absolute error 1e-4.
UVIC_INLINE F32 gelu_derivative_bf16(F32 x) {
  const F32 y = within_six(x), square = y * y, odds = normal_odds(y, square);
  const F32 cdf = rough_reciprocal(set(1.0f) + odds);
  F32 w = set(1.597536618e-5f);
  w = fma(w, square, set(-3.608046520e-4f));
  w = fma(w, square, set(-1.578869752e-3f));
  w = fma(w, square, set(0.2193654208f));
  w = fma(w, square, set(1.595413514f));
  return cdf * fma(y * w, odds * cdf, set(1.0f));
}

}  // namespace
}  // namespace uvic::cpu::UVIC_ISA
