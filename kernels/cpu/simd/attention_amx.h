#pragma once

// What the two passes of bf16 attention on AMX tiles share: products of bf16 with f32 sums, everything between them in
// f32. A tile product of 16 x 16 x 32 takes 16 cycles; each score needs 4 of them for every 256 (D = 64), and a dozen
// vector operations for every 16. So the vector operations count, and each one saved is worth some percent of a pass.

#include "kernels/cpu/simd/attention.h"
#include "kernels/cpu/simd/tiles.h"
#include "kernels/ops/attention_score.h"

namespace uvic::cpu::UVIC_ISA {
namespace {

// Query rows in forward, keys in backward that are worked on at once: two tiles. A block's scores, 33 KB at L = 257,
// come from the second-level cache; cutting them into chunks that fit the first costs as much in rescaling and in
// waiting for short products as it saves.
constexpr int64_t kBlock = 32;
constexpr float kLog2e = 1.44269504f, kLn2 = 0.693147181f;
constexpr float kWide = 0x1p20f;  // scores beyond this, in powers of two, leave no digits for z c - m c

// 2^t, relative error 3e-6: a weight is rounded to 8 bits right after. Any t down to -inf.
UVIC_INLINE F32 exp2(F32 t) {
  const F32 f{_mm512_reduce_ps(t.v, 9)};  // t - floor(t)
  F32 p = fma(set(1.35341679e-2f), f, set(5.20114606e-2f));
  p = fma(p, f, set(2.41442757e-1f));
  p = fma(p, f, set(6.93003834e-1f));
  p = fma(p, f, set(1.0f));
  return {_mm512_scalef_ps(p.v, t.v)};
}

// 1 / x for 1 <= x <= 1e38, relative error 1e-7; a division takes ten times as long.
UVIC_INLINE F32 inverse(F32 x) {
  const F32 r{_mm512_rcp14_ps(x.v)};
  return fma(fnma(x, r, set(1.0f)), r, r);
}

// The kinds of attention_score.h in fewer operations. The factor of a product on its way to a score is 2^kPower more.
struct TileSoftmax : SoftmaxScore {
  static constexpr int kPower = 0;
  static constexpr float kUnit = 1, kLowest = -__builtin_inff();
  static F32 highest(F32 a, F32 z) { return max(z, a); }
};

// One vrangeps gives z's sign to the lesser of |z| and u. Scores 2^64 times too large make that u for any z but 0 (or
// below 2^-64), and 0 for 0.
struct TileCog : CogScore {
  static constexpr int kPower = 64;
  static constexpr float kUnit = 0x1p-64f, kLowest = 0;
  static F32 highest(F32 a, F32 z) { return {_mm512_range_ps(a.v, z.v, 0xb)}; }  // max(|a|, |z|)
  static F32 weight(F32 u, F32 z) { return {_mm512_range_ps(z.v, u.v, 0x2)}; }
};

struct TileExpressive : ExpressiveScore {
  static constexpr int kPower = 0;
  static F32 weight(F32 z) {
    const F32 square = min(z * z, 1e38f);
    return square * inverse(square + set(1.0f));
  }
};

// What turns a product into the argument of exp2, or into the score itself.
template <class Score>
float factor_of(float scale) {
  if constexpr (Score::kExponential) return scale * (kLog2e * Score::kUnit);
  return scale;
}

struct Scratch {
  char* next;
  template <class T>
  T* take(int64_t elements) {
    T* here = reinterpret_cast<T*>(next);
    next += round_up(elements * static_cast<int64_t>(sizeof(T)), 64);
    return here;
  }
};

UVIC_INLINE void store_pair(bf16* p, F32 a, F32 b) { _mm512_storeu_si512(p, to_bf16_pair(a, b)); }

UVIC_INLINE F32 add(F32 a, F32 b) { return a + b; }

// The same rows of the next head lie just behind these: brings them into the second-level cache while there is time. A
// row is a page away from the one before, so no hardware prefetcher sees the pattern.
UVIC_INLINE void prefetch_next_head(const void* matrix, int64_t stride, int64_t row, int64_t rows, int64_t D) {
  for (int64_t r = row; r < row + rows; ++r) {
    const bf16* next = static_cast<const bf16*>(matrix) + r * stride + D;
    for (int64_t d = 0; d < D; d += 32) _mm_prefetch(reinterpret_cast<const char*>(next + d), _MM_HINT_T1);
  }
}

}  // namespace
}  // namespace uvic::cpu::UVIC_ISA
