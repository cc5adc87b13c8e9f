#include "kernels/cpu/simd/matmul_amx.h"

#include "kernels/cpu/simd/gelu_bf16.h"
#include "kernels/cpu/simd/tiles.h"

namespace uvic::cpu::amx {
namespace {

constexpr int64_t kTile = 16 * 16;  // sums in one

constexpr int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

// ---- activations and pairs of vectors -------------------------------------------------------------------------------
template <class T, Activation act>
UVIC_INLINE F32 activated(F32 x) {
  if constexpr (act == Activation::gelu) return sizeof(T) == 2 ? gelu_bf16(x) : gelu(x);
  return act == Activation::silu ? silu(x) : x;
}
template <class T, Activation act>
UVIC_INLINE F32 derivative(F32 x) {
  if constexpr (act == Activation::gelu) return sizeof(T) == 2 ? gelu_derivative_bf16(x) : gelu_derivative(x);
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

// ---- packing --------------------------------------------------------------------------------------------------------
// A tile of a holds rows of 32 elements. A tile of b holds pairs: row p has elements 2p and 2p + 1 of sixteen columns,
// side by side. As 16 x 16 words of two elements, one is the other's transpose; so what lies contiguous along the inner
// dimension is read as rows, what lies contiguous along the lanes is read as pairs, and is then transposed or not.
template <Activation act>
UVIC_INLINE __m512i activated_row(__m512i x) {
  if constexpr (act == Activation::none) return x;
  const Pair pair = widen_pair(x);
  return to_bf16_pair(activated<bf16, act>(pair.first), activated<bf16, act>(pair.second));
}

template <Activation act>
void pack_step(Side side, const Operand& from, int64_t panel, int64_t step, bf16* to) {
  const int64_t lane = panel * kPanel, at = step * kStep, lanes = from.lanes - lane, inner = from.inner - at;
  const bf16* corner = from.data + lane * from.lane_stride + at * from.inner_stride;
  const bool by_rows = from.inner_stride == 1;
  __m512i tile[2][16];
  if (by_rows) {
    const Columns rows(corner, from.lane_stride, lanes, inner, 0);
    for (int i = 0; i < 32; ++i) tile[i / 16][i % 16] = activated_row<act>(rows.row(i));
  } else {
    const Columns rows(corner, from.inner_stride, inner, lanes, 0);
    for (int i = 0; i < 16; ++i) {
      const PairedRows pairs(activated_row<act>(rows.row(2 * i)), activated_row<act>(rows.row(2 * i + 1)));
      tile[0][i] = pairs.first;
      tile[1][i] = pairs.second;
    }
  }
  for (int half = 0; half < 2; ++half, to += kTiles / 2) {
    if (by_rows == (side == Side::b)) transpose16(tile[half]);
    for (int i = 0; i < 16; ++i) _mm512_store_si512(to + i * 32, tile[half][i]);
  }
}

template <Activation act>
void pack_as(Side side, const Operand& from, Range panels, Range steps, bf16* to, int64_t panel_stride) {
  const auto one = [&](int64_t p, int64_t s) {
    pack_step<act>(side, from, p, s, to + (p - panels.begin) * panel_stride + (s - steps.begin) * kTiles);
  };
  if (from.inner_stride == 1) {
    for (int64_t p = panels.begin; p < panels.end; ++p)
      for (int64_t s = steps.begin; s < steps.end; ++s) one(p, s);
  } else {
    for (int64_t s = steps.begin; s < steps.end; ++s)
      for (int64_t p = panels.begin; p < panels.end; ++p) one(p, s);
  }
}

// ---- epilogue -------------------------------------------------------------------------------------------------------
// What is left to do for the sums of one panel by one panel, which belong at (row, column): their rows [next, end).
template <class T, Activation act>
struct Pending {
  const Epilogue& e;
  const float* sums;
  int64_t row, column, next, end;
  __mmask32 columns = first_words(e.columns - column);

  UVIC_INLINE void finish(int64_t count) {
    for (const int64_t stop = least(end, next + count); next < stop; ++next) {
      const int64_t r = row + next;
      const float* from = sums + next / 16 * 2 * kTile + next % 16 * 16;
      Pair x = {load(from), load(from + kTile)};
      if (e.backward) {
        const Pair pre = load_pair(e.pre + r * e.pre_stride + column, columns);
        x = {x.first * derivative<T, act>(pre.first), x.second * derivative<T, act>(pre.second)};
      } else {
        if (e.pre) store_pair(e.pre + r * e.pre_stride + column, x, columns);
        x = {activated<T, act>(x.first), activated<T, act>(x.second)};
      }
      if (e.residual) {
        const Pair more = load_pair(e.residual + r * e.residual_stride + column, columns);
        x = {x.first + more.first, x.second + more.second};
      }
      T* to = static_cast<T*>(e.c) + r * e.c_stride + column;
      if (e.accumulate) {
        const Pair more = load_pair(to, columns);
        x = {x.first + more.first, x.second + more.second};
      }
      store_pair(to, x, columns);
    }
  }
};

// ---- products -------------------------------------------------------------------------------------------------------
// Two tiles of a by two of b: four sums, the most that eight tile registers allow. A block of 16 steps of a panel of a
// (32 KB) stays in the L1 cache while the panels of b in a group pass by it from L2, by streaming loads, which leave no
// copy in L1 (with plain ones 2.0 TFLOP/s instead of 2.7, and blocks of 8 steps lose as much in storing sums between
// them). All panels of a group are multiplied before a's next, so that the results of one row are written one after the
// other: column by column they fall into one cache set and 32 pages, and where rows are 4 KB apart every load seems to
// depend on an earlier store (2056 x 512 by 512 x 2048: 10.9 ms a core instead of 3.6).
constexpr int64_t kBlockSteps = 16;
constexpr int64_t kGroupBytes = 1 << 20;  // half of L2; the other half holds panels of a

// While the tiles multiply, the vector units finish earlier sums, a few rows after each step. That is free as long as a
// row takes them no longer than a step takes the tiles, 64 cycles for two rows: hence gelu_bf16.h.
template <class Earlier>
UVIC_INLINE void multiply_block(const bf16* a, const bf16* b, int64_t steps, float* sums, bool first, const float* bias,
                                Earlier earlier) {
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
  const int64_t share = (earlier.end - earlier.next + steps - 1) / steps;
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
    earlier.finish(share);
  }
  _tile_stored(0, sums, kRow);
  _tile_stored(1, sums + kTile, kRow);
  _tile_stored(2, sums + 2 * kTile, kRow);
  _tile_stored(3, sums + 3 * kTile, kRow);
}

template <class T, Activation act>
void multiply_as(const Product& m, const Epilogue& e) {
  const int64_t rounded = (m.steps + kBlockSteps / 2) / kBlockSteps, blocks = rounded < 1 ? 1 : rounded;
  const int64_t share = (kPanel + blocks - 1) / blocks;
  const int64_t fitting = kGroupBytes / (m.steps * kTiles * 2), group = fitting < 4 ? 4 : least(fitting, kGroup);
  const auto sums = [&](int64_t p, int64_t c) { return m.sums + (p % 2 * kGroup + c) * kTiles; };
  for (int64_t g = 0; g < m.b_panels; g += group) {
    const int64_t width = least(group, m.b_panels - g), column = m.column + g * kPanel;
    const auto pending = [&](int64_t p, int64_t c, int64_t begin, int64_t end) {
      const int64_t row = m.row + p * kPanel, rows = p < 0 ? 0 : least(end, e.rows - row);
      return Pending<T, act>{e, p < 0 ? nullptr : sums(p, c), row, column + c * kPanel, least(begin, rows), rows};
    };
    for (int64_t p = 0; p < m.a_panels; ++p)
      for (int64_t i = 0; i < blocks; ++i)
        for (int64_t c = 0; c < width; ++c) {
          const int64_t at = m.steps * i / blocks, steps = m.steps * (i + 1) / blocks - at;
          multiply_block(m.a + p * m.panel_stride + at * kTiles, m.b + (g + c) * m.panel_stride + at * kTiles, steps,
                         sums(p, c), i == 0, m.bias ? m.bias + (g + c) * kPanel : nullptr,
                         pending(p - 1, c, i * share, least(kPanel, (i + 1) * share)));
        }
    for (int64_t c = 0; c < width; ++c) pending(m.a_panels - 1, c, 0, kPanel).finish(kPanel);
  }
}

template <class T>
void multiply_to(const Product& m, const Epilogue& e) {
  switch (e.act) {
    case Activation::none: return multiply_as<T, Activation::none>(m, e);
    case Activation::gelu: return multiply_as<T, Activation::gelu>(m, e);
    case Activation::silu: return multiply_as<T, Activation::silu>(m, e);
  }
}

}  // namespace

void pack(Side side, const Operand& from, Range panels, Range steps, bf16* to, int64_t panel_stride) {
  switch (from.act) {
    case Activation::none: return pack_as<Activation::none>(side, from, panels, steps, to, panel_stride);
    case Activation::gelu: return pack_as<Activation::gelu>(side, from, panels, steps, to, panel_stride);
    case Activation::silu: return pack_as<Activation::silu>(side, from, panels, steps, to, panel_stride);
  }
}

void multiply(const Product& m, const Epilogue& e) {
  const TileUnit unit;
  e.c_is_f32 ? multiply_to<float>(m, e) : multiply_to<bf16>(m, e);
}

}  // namespace uvic::cpu::amx
