#pragma once

// What the AMX kernels share: the product of two packed panels, and what is done to pairs of vectors on the way out.
// Compiled for amx only.

#include "kernels/cpu/simd/gelu_bf16.h"
#include "kernels/cpu/simd/matmul_amx.h"
#include "kernels/cpu/simd/tiles.h"

namespace uvic::cpu::amx {
namespace {

constexpr int64_t kTile = 16 * 16;  // sums in one

constexpr int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

// ---- activations and pairs of vectors -------------------------------------------------------------------------------
// Of what will be rounded to bf16.
template <Activation act>
UVIC_INLINE F32 activated(F32 x) {
  if constexpr (act == Activation::gelu) return gelu_bf16(x);
  if constexpr (act == Activation::quick_gelu) return quick_gelu(x);
  return act == Activation::silu ? silu(x) : x;
}
template <Activation act>
UVIC_INLINE F32 derivative(F32 x) {
  if constexpr (act == Activation::gelu) return gelu_derivative_bf16(x);
  if constexpr (act == Activation::quick_gelu) return quick_gelu_derivative(x);
  return act == Activation::silu ? silu_derivative(x) : set(1.0f);
}

// 32 neighbours, of which those in the mask exist.
struct Pair {
  F32 first, second;
};
UVIC_INLINE Pair widen_pair(__m512i x) {
  return {widen(_mm512_castsi512_si256(x)), widen(_mm512_extracti64x4_epi64(x, 1))};
}
UVIC_INLINE Pair load_pair(const bf16* from, __mmask32 mask) {
  return widen_pair(_mm512_maskz_loadu_epi16(mask, from));
}
UVIC_INLINE Pair load_pair(const float* from, __mmask32 mask) {
  return {{_mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), from)},
          {_mm512_maskz_loadu_ps(static_cast<__mmask16>(mask >> 16), from + 16)}};
}
UVIC_INLINE void store_pair(bf16* to, Pair x, __mmask32 mask) {
  _mm512_mask_storeu_epi16(to, mask, to_bf16_pair(x.first, x.second));
}
UVIC_INLINE void store_pair(float* to, Pair x, __mmask32 mask) {
  _mm512_mask_storeu_ps(to, static_cast<__mmask16>(mask), x.first.v);
  _mm512_mask_storeu_ps(to + 16, static_cast<__mmask16>(mask >> 16), x.second.v);
}

// ---- products -------------------------------------------------------------------------------------------------------
// Two tiles of a by two of b: four sums, the most that eight tile registers allow. A block of 16 steps of a panel of a
// (32 KB) stays in the L1 cache while the panels of b in a group pass by it from L2, by streaming loads, which leave no
// copy in L1 (with plain ones 2.0 TFLOP/s instead of 2.7, and blocks of 8 steps lose as much in storing sums between
// them). All panels of a group are multiplied before a's next, so that the results of one row are written one after the
// other: column by column they fall into one cache set and 32 pages, and where rows are 4 KB apart every load seems to
// depend on an earlier store (2056 x 512 by 512 x 2048: 10.9 ms a core instead of 3.6).
constexpr int64_t kGroupBytes = 1 << 20;  // half of L2; the other half holds panels of a

// sums, 32 x 32 as four tiles, = the panels' product over these steps, added to sums or, if first, to the bias of the
// columns (null: 0). While the tiles multiply, the vector units do something else: meanwhile() is called after each
// step. That is free as long as it takes them no longer than the step takes the tiles, 64 cycles: hence gelu_bf16.h.
template <class Meanwhile>
UVIC_INLINE void multiply_block(const bf16* a, const bf16* b, int64_t steps, float* sums, bool first, const float* bias,
                                Meanwhile meanwhile) {
  constexpr int kRow = 64;  // bytes
  if (first && bias) {      // the same row sixteen times
    _tile_loadd(0, bias, 0);
    _tile_loadd(1, bias + 16, 0);
    _tile_loadd(2, bias, 0);
    _tile_loadd(3, bias + 16, 0);
  } else if (first) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  } else {
    _tile_loadd(0, sums, kRow);
    _tile_loadd(1, sums + kTile, kRow);
    _tile_loadd(2, sums + 2 * kTile, kRow);
    _tile_loadd(3, sums + 3 * kTile, kRow);
  }
#pragma GCC unroll 1
  for (int64_t s = 0; s < steps; ++s, a += kTiles, b += kTiles) {
    _tile_loadd(4, a, kRow);
    _tile_stream_loadd(6, b, kRow);
    _tile_stream_loadd(7, b + kTiles / 2, kRow);
    _tile_loadd(5, a + kTiles / 2, kRow);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
    meanwhile();
  }
  _tile_stored(0, sums, kRow);
  _tile_stored(1, sums + kTile, kRow);
  _tile_stored(2, sums + 2 * kTile, kRow);
  _tile_stored(3, sums + 3 * kTile, kRow);
}

// Brings memory into L2 that is soon needed, a few lines at a time.
struct Ahead {
  const char* next;
  const char* end;
  UVIC_INLINE void lines(int count) {
    for (int i = 0; i < count && next < end; ++i, next += 64) _mm_prefetch(next, _MM_HINT_T1);
  }
};
UVIC_INLINE Ahead ahead(const bf16* from, int64_t elements) {
  const char* begin = reinterpret_cast<const char*>(from);
  return {begin, begin + 2 * elements};
}

// Sums wait a while before they are finished: vector loads of what tiles have just stored would wait for the stores,
// and those for earlier ones that miss the cache (a step of training S/2, waiting for 1, 3, 8, 15 blocks: 0.95, 0.91,
// 0.895, 0.92 s). Where a panel has several blocks, the sums of a group are in use at once and wait for the next panel.
constexpr int64_t kLag = 8;

// Row r of the 32 x 32 sums.
UVIC_INLINE Pair sums_row(const float* sums, int64_t r) {
  const float* from = sums + r / 16 * 2 * kTile + r % 16 * 16;
  return {load(from), load(from + kTile)};
}

}  // namespace
}  // namespace uvic::cpu::amx
