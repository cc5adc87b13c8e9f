#include "kernels/cpu/simd/matmul_amx.h"

#include "kernels/cpu/simd/vec.h"

namespace uvic::cpu::amx {
namespace {

constexpr int64_t kTile = 16 * 16;  // sums in one

constexpr int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

// ---- packing --------------------------------------------------------------------------------------------------------
// A tile of a holds rows of 32 elements. A tile of b holds pairs: row p has elements 2p and 2p + 1 of sixteen columns,
// side by side. As 16 x 16 words of two elements, one is the other's transpose; so what lies contiguous along the inner
// dimension is read as rows, what lies contiguous along the lanes is read as pairs, and is then transposed or not.
struct Words {
  __m512i row[16];
};

UVIC_INLINE void transpose(Words& w) {
  __m512i t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(w.row[i], w.row[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(w.row[i], w.row[i + 1]);
  }
  __m512i u[16];
  for (int i = 0; i < 16; i += 4) {
    u[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    u[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    u[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    u[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  for (int i = 0; i < 4; ++i) {
    const __m512i a = _mm512_shuffle_i32x4(u[i], u[i + 4], 0x88), b = _mm512_shuffle_i32x4(u[i], u[i + 4], 0xdd);
    const __m512i c = _mm512_shuffle_i32x4(u[i + 8], u[i + 12], 0x88);
    const __m512i d = _mm512_shuffle_i32x4(u[i + 8], u[i + 12], 0xdd);
    w.row[i] = _mm512_shuffle_i32x4(a, c, 0x88);
    w.row[i + 8] = _mm512_shuffle_i32x4(a, c, 0xdd);
    w.row[i + 4] = _mm512_shuffle_i32x4(b, d, 0x88);
    w.row[i + 12] = _mm512_shuffle_i32x4(b, d, 0xdd);
  }
}

UVIC_INLINE __mmask32 first32(int64_t n) { return n >= 32 ? ~__mmask32{0} : (__mmask32{1} << n) - 1; }

void write(Words& w, bool transposed, bf16* to) {
  if (transposed) transpose(w);
  for (int i = 0; i < 16; ++i) _mm512_store_si512(to + i * 32, w.row[i]);
}

// Sixteen lanes, each 32 consecutive elements.
void pack_rows(const bf16* from, int64_t stride, int64_t lanes, int64_t inner, bool transposed, bf16* to) {
  const __mmask32 mask = first32(inner);
  Words w;
  for (int i = 0; i < 16; ++i)
    w.row[i] = i < lanes ? _mm512_maskz_loadu_epi16(mask, from + i * stride) : _mm512_setzero_si512();
  write(w, transposed, to);
}

// Thirty-two elements, each of 32 consecutive lanes: both tiles at once, since a row of both is one cache line.
void pack_pairs(const bf16* from, int64_t stride, int64_t lanes, int64_t inner, bool transposed, bf16* to) {
  const __mmask32 mask = first32(lanes);
  const auto words = [](__m256i even, __m256i odd) {
    return _mm512_or_si512(_mm512_cvtepu16_epi32(even), _mm512_slli_epi32(_mm512_cvtepu16_epi32(odd), 16));
  };
  Words low, high;
  for (int i = 0; i < 16; ++i) {
    const bf16* p = from + 2 * i * stride;
    const __m512i even = 2 * i < inner ? _mm512_maskz_loadu_epi16(mask, p) : _mm512_setzero_si512();
    const __m512i odd = 2 * i + 1 < inner ? _mm512_maskz_loadu_epi16(mask, p + stride) : _mm512_setzero_si512();
    low.row[i] = words(_mm512_castsi512_si256(even), _mm512_castsi512_si256(odd));
    high.row[i] = words(_mm512_extracti64x4_epi64(even, 1), _mm512_extracti64x4_epi64(odd, 1));
  }
  write(low, transposed, to);
  write(high, transposed, to + kTiles / 2);
}

void pack_step(Side side, const Operand& from, int64_t panel, int64_t step, bf16* to) {
  const int64_t lane = panel * kPanel, at = step * kStep;
  const int64_t lanes = least(kPanel, from.lanes - lane), inner = least(kStep, from.inner - at);
  const bf16* corner = from.data + lane * from.lane_stride + at * from.inner_stride;
  if (from.inner_stride == 1) {
    const bool transposed = side == Side::b;
    pack_rows(corner, from.lane_stride, lanes, inner, transposed, to);
    pack_rows(corner + 16 * from.lane_stride, from.lane_stride, lanes - 16, inner, transposed, to + kTiles / 2);
  } else {
    pack_pairs(corner, from.inner_stride, lanes, inner, side == Side::a, to);
  }
}

// ---- epilogue -------------------------------------------------------------------------------------------------------
template <Activation act>
UVIC_INLINE F32 activated(F32 x) {
  return act == Activation::gelu ? gelu(x) : act == Activation::silu ? silu(x) : x;
}

// What is left to do for the sums of one panel by one panel, which belong at (row, column): their rows [next, end).
template <class T, Activation act>
struct Pending {
  const Epilogue& e;
  const float* sums;
  int64_t row, column, next, end;

  UVIC_INLINE void finish(int64_t count) {
    for (const int64_t stop = least(end, next + count); next < stop; ++next)
      for (int64_t half = 0; half < 2; ++half) {
        const int64_t r = row + next, c = column + 16 * half, n = e.columns > c ? least(16, e.columns - c) : 0;
        F32 x = load(sums + (next / 16 * 2 + half) * kTile + next % 16 * 16);
        if (e.bias) x = x + load(e.bias + c, n);
        if (e.pre) store(e.pre + r * e.pre_stride + c, x, n);
        x = activated<act>(x);
        if (e.residual) x = x + load(e.residual + r * e.residual_stride + c, n);
        T* to = static_cast<T*>(e.c) + r * e.c_stride + c;
        if (e.accumulate) x = x + load(to, n);
        store(to, x, n);
      }
  }
};

// ---- products -------------------------------------------------------------------------------------------------------
// Two tiles of a by two of b: four sums, the most that eight tile registers allow. A block of 8 steps of a panel of a
// (16 KB) stays in the L1 cache while the panels of b in a group pass from L2, so that the results of one row are
// written one after the other: column by column they fall into one cache set and 32 pages, and where rows are 4 KB
// apart every load seems to depend on an earlier store (2056 x 512 by 512 x 2048: 10.9 ms a core instead of 3.6).
constexpr int64_t kBlockSteps = 8;
constexpr int64_t kGroupBytes = 1 << 20;  // half of L2; the other half holds panels of a

// While the tiles multiply, the vector units finish earlier sums, a few rows after each step: x w^T with GELU takes 4.5
// ms a core (2056 x 512 by 512 x 1536) instead of 5.6.
template <class Earlier>
UVIC_INLINE void multiply_block(const bf16* a, const bf16* b, int64_t steps, float* sums, bool first, Earlier earlier) {
  constexpr int kRow = 64;  // bytes
  if (first) {
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
    _tile_loadd(6, b, kRow);
    _tile_loadd(7, b + kTiles / 2, kRow);
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
  const int64_t blocks = (m.steps + kBlockSteps - 1) / kBlockSteps, share = (kPanel + blocks - 1) / blocks;
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
          const int64_t at = i * kBlockSteps, steps = least(kBlockSteps, m.steps - at);
          multiply_block(m.a + p * m.panel_stride + at * kTiles, m.b + (g + c) * m.panel_stride + at * kTiles, steps,
                         sums(p, c), i == 0, pending(p - 1, c, i * share, least(kPanel, (i + 1) * share)));
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
  const auto one = [&](int64_t p, int64_t s) {
    pack_step(side, from, p, s, to + (p - panels.begin) * panel_stride + (s - steps.begin) * kTiles);
  };
  if (from.inner_stride == 1) {
    for (int64_t p = panels.begin; p < panels.end; ++p)
      for (int64_t s = steps.begin; s < steps.end; ++s) one(p, s);
  } else {
    for (int64_t s = steps.begin; s < steps.end; ++s)
      for (int64_t p = panels.begin; p < panels.end; ++p) one(p, s);
  }
}

void configure() {
  struct alignas(64) {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  } const config;
  // Not _tile_loadconfig: GCC 12's tells the compiler that eight bytes are read, and the rest is never written.
  __asm__ volatile("ldtilecfg %0" ::"m"(config));
}

void release() { _tile_release(); }

void multiply(const Product& m, const Epilogue& e) { e.c_is_f32 ? multiply_to<float>(m, e) : multiply_to<bf16>(m, e); }

}  // namespace uvic::cpu::amx
