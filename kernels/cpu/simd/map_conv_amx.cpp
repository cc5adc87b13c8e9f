// Convolution on AMX tiles, summed in f32: of bf16, or of split numbers, f32's x w as hi hi + hi lo + lo hi of parts.

#include "kernels/cpu/simd/map_conv.h"
#include "kernels/cpu/simd/tiles.h"

namespace uvic::cpu::amx {
namespace {

constexpr int64_t kTile = 16 * 16;        // sums in one
constexpr int64_t kGroupBytes = 1 << 19;  // of weights, a quarter of L2, multiplied with each pair
// bf16 in a step of a panel: hi of 2 tiles of filters, then lo.
template <bool kSplit>
constexpr int64_t kStepWeights = (kSplit ? 4 : 2) * kTileElements;

constexpr int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

// The sums of a pair of tiles and a panel, of which rows [next, 32) are still to be written.
template <bool kSplit>
struct Pending {
  const ConvOutput* out = nullptr;
  const float* sums = nullptr;
  const int32_t* to = nullptr;  // [32]
  int64_t column = 0, next = 32;

  UVIC_INLINE void store_vector(F32 x, int64_t at) const {
    bf16* hi = static_cast<bf16*>(out->y.data) + at;
    if (out->add) x = x + (kSplit ? load(hi) + load(hi + out->y.lo) : load(hi));
    if (out->relu) x = max(set(0.0f), x);
    const __m256i top = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x.v));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(hi), top);
    if constexpr (kSplit)
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(hi + out->y.lo),
                          reinterpret_cast<__m256i>(_mm512_cvtneps_pbh((x - widen(top)).v)));
  }

  UVIC_INLINE void finish(int64_t count) {
    for (const int64_t stop = least(32, next + count); next < stop; ++next) {
      if (to[next] < 0) continue;
      const float* from = sums + next / 16 * 2 * kTile + next % 16 * 16;
      const int64_t at = to[next] * out->y_pitch + column;
      store_vector(load(from) + load(out->b + column), at);
      if (out->columns - column > 16) store_vector(load(from + kTile) + load(out->b + column + 16), at + 16);
    }
  }
};

// Two tiles of pixels by two of filters: four products.
UVIC_INLINE void multiply_pairs() {
  _tile_dpbf16ps(0, 4, 6);
  _tile_dpbf16ps(1, 4, 7);
  _tile_dpbf16ps(2, 5, 6);
  _tile_dpbf16ps(3, 5, 7);
}

// In each step of split numbers twelve products share eight loads: a load takes half the time of a product, and the
// rest of it goes to finishing earlier sums.
template <bool kSplit>
UVIC_INLINE void multiply(const ConvWork& work, const bf16* x0, const bf16* x1, const bf16* w, float* sums,
                          Pending<kSplit>& earlier) {
  constexpr int kRow = 64;  // bytes
  const int64_t pitch = work.pitch * 2, share = (32 + work.steps - 1) / work.steps;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
#pragma GCC unroll 1
  for (int64_t s = 0; s < work.steps; ++s, w += kStepWeights<kSplit>) {
    const bf16 *a0 = x0 + work.offsets[s], *a1 = x1 + work.offsets[s];
    if constexpr (kSplit) {
      _tile_loadd(4, a0 + work.x.lo, pitch);
      _tile_loadd(6, w, kRow);
      _tile_loadd(7, w + kTileElements, kRow);
      _tile_loadd(5, a1 + work.x.lo, pitch);
      multiply_pairs();
      _tile_loadd(4, a0, pitch);
      _tile_loadd(5, a1, pitch);
      multiply_pairs();
      _tile_loadd(6, w + 2 * kTileElements, kRow);
      _tile_loadd(7, w + 3 * kTileElements, kRow);
    } else {
      _tile_loadd(4, a0, pitch);
      _tile_loadd(6, w, kRow);
      _tile_loadd(7, w + kTileElements, kRow);
      _tile_loadd(5, a1, pitch);
    }
    multiply_pairs();
    earlier.finish(share);
  }
  _tile_stored(0, sums, kRow);
  _tile_stored(1, sums + kTile, kRow);
  _tile_stored(2, sums + 2 * kTile, kRow);
  _tile_stored(3, sums + 3 * kTile, kRow);
}

template <bool kSplit>
void convolve_as(const ConvWork& work) {
  const TileUnit unit;
  __asm__ volatile("" ::: "memory");  // GCC 12 does not know that a tile load reads memory
  alignas(64) float sums[2][4 * kTile];
  const bf16* x = static_cast<const bf16*>(work.x.data);
  const int64_t fitting = kGroupBytes / (work.steps * kStepWeights<kSplit> * 2), group = fitting < 2 ? 2 : fitting;
  Pending<kSplit> pending;
  int64_t turn = 0;
  for (int64_t i = 0; i < work.count; ++i) {
    const ConvOutput& out = work.outputs[i];
    const int64_t panels = (out.columns + kConvPanel - 1) / kConvPanel;
    for (int64_t first = 0; first < panels; first += group)
      for (int64_t tile = work.begin; tile < work.end; tile += 2)
        for (int64_t p = first; p < least(panels, first + group); ++p) {
          float* here = sums[turn++ % 2];
          multiply<kSplit>(work, x + work.starts[tile], x + work.starts[tile + 1],
                           static_cast<const bf16*>(out.w) + p * work.steps * kStepWeights<kSplit>, here, pending);
          pending = {&out, here, out.to + tile * kTilePixels, p * kConvPanel, 0};
        }
  }
  pending.finish(32);
}

void convolve(const ConvWork& work) {
  work.x.format == MapFormat::split ? convolve_as<true>(work) : convolve_as<false>(work);
}

}  // namespace

const MapConv map_conv = convolve;

}  // namespace uvic::cpu::amx
