#pragma once

// Products of bf16 matrices on AMX tiles: C (16 x 16 floats) += A (16 x 32) B (32 x 16). Compiled for amx only.
//
//   A   rows of bf16, pitch bytes apart, the depth padded to a multiple of 32
//   B   tiles of 1 KB, [depth / 32][columns / 16]; row p of a tile holds depths 2p, 2p + 1 of its 16 columns as pairs
//   C   rows of floats, pitch bytes apart
//
// Padding is zero, so that no loop has a ragged depth.

#include "kernels/cpu/simd/matrix.h"

namespace uvic::cpu::UVIC_ISA {
namespace {

constexpr int64_t kTileElements = 512;  // bf16 in a tile of B

// The tile unit of this thread, eight tiles of 16 x 64 bytes, while it lives. Code elsewhere configures it for itself.
class TileUnit {
 public:
  TileUnit() {
    const Config config;
    // Not _tile_loadconfig: GCC 12's says that it reads eight bytes, so the rest may never be written.
    __asm__ volatile("ldtilecfg %0" ::"m"(config));
  }
  ~TileUnit() { _tile_release(); }
  TileUnit(const TileUnit&) = delete;
  TileUnit& operator=(const TileUnit&) = delete;

 private:
  struct alignas(64) Config {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  };
};

// C [16 m, 16 n] = (add ? C : 0) + A [16 m, 32 steps] B [32 steps, 16 n].
struct TileProduct {
  int64_t m, n, steps;
  const bf16* a;
  int64_t a_pitch;
  const bf16* b;
  int64_t b_columns;  // tiles from one depth step to the next, at least n
  float* c;
  int64_t c_pitch;
  bool add;
};

// Tiles 0 to 3, the result of the last products. They are stored only when the next need them: a store right after its
// products would wait for them, and the products behind it for the store (7.1 ns a product at D = 64, this way 5.2 ns).
struct TileResult {
  char* c = nullptr;
  int64_t pitch = 0;
  int rows = 0, columns = 0;  // in tiles; 0: nothing to store

  void store() {
    if (rows == 0) return;
    _tile_stored(0, c, pitch);
    if (columns > 1) _tile_stored(1, c + 64, pitch);
    if (rows > 1) _tile_stored(2, c + 16 * pitch, pitch);
    if (rows > 1 && columns > 1) _tile_stored(3, c + 16 * pitch + 64, pitch);
    rows = 0;
  }
};

// kM x kN tiles of C. Tiles 4 and 5 hold A, 6 and 7 B: two by two needs one load for each product, half its time.
template <int kM, int kN>
UVIC_INLINE void multiply_tiles(const TileProduct& p, int64_t i, int64_t j, TileResult& result) {
  const char* a = reinterpret_cast<const char*>(p.a) + 16 * i * p.a_pitch;
  const bf16* b = p.b + j * kTileElements;
  char* c = reinterpret_cast<char*>(p.c) + 16 * i * p.c_pitch + 64 * j;
  for (int64_t k = 0; k < p.steps; ++k, a += 64, b += p.b_columns * kTileElements) {
    _tile_loadd(6, b, 64);
    _tile_loadd(4, a, p.a_pitch);
    if constexpr (kN > 1) _tile_loadd(7, b + kTileElements, 64);
    if constexpr (kM > 1) _tile_loadd(5, a + 16 * p.a_pitch, p.a_pitch);
    if (k == 0) {
      result.store();
      result = {c, p.c_pitch, kM, kN};
      if (p.add) {
        _tile_loadd(0, c, p.c_pitch);
        if constexpr (kN > 1) _tile_loadd(1, c + 64, p.c_pitch);
        if constexpr (kM > 1) _tile_loadd(2, c + 16 * p.c_pitch, p.c_pitch);
        if constexpr (kM > 1 && kN > 1) _tile_loadd(3, c + 16 * p.c_pitch + 64, p.c_pitch);
      } else {
        _tile_zero(0);
        if constexpr (kN > 1) _tile_zero(1);
        if constexpr (kM > 1) _tile_zero(2);
        if constexpr (kM > 1 && kN > 1) _tile_zero(3);
      }
    }
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (kN > 1) _tile_dpbf16ps(1, 4, 7);
    if constexpr (kM > 1) _tile_dpbf16ps(2, 5, 6);
    if constexpr (kM > 1 && kN > 1) _tile_dpbf16ps(3, 5, 7);
  }
}

inline void multiply(const TileProduct& p) {
  __asm__ volatile("" ::: "memory");  // GCC 12 does not know that a tile load reads memory
  TileResult result;
  for (int64_t j = 0; j < p.n; j += 2) {
    for (int64_t i = 0; i < p.m; i += 2) {
      if (i + 1 < p.m) {
        j + 1 < p.n ? multiply_tiles<2, 2>(p, i, j, result) : multiply_tiles<2, 1>(p, i, j, result);
      } else {
        j + 1 < p.n ? multiply_tiles<1, 2>(p, i, j, result) : multiply_tiles<1, 1>(p, i, j, result);
      }
    }
  }
  result.store();
}

// ---- from rows of a [rows, width] matrix, stride elements apart, to operands ----------------------------------------
UVIC_INLINE __mmask32 first_words(int64_t n) { return _bzhi_u32(0xffffffffu, static_cast<unsigned>(n < 32 ? n : 32)); }

// Columns d to d + 31 of a matrix: those that exist, of rows that exist, else 0.
struct Columns {
  const bf16* from;
  int64_t stride, rows;
  __mmask32 mask;
  Columns(const bf16* matrix, int64_t row_stride, int64_t row_count, int64_t width, int64_t d)
      : from(matrix + d), stride(row_stride), rows(row_count), mask(first_words(width - d)) {}
  UVIC_INLINE __m512i row(int64_t r) const {
    return r < rows ? _mm512_maskz_loadu_epi16(mask, from + r * stride) : _mm512_setzero_si512();
  }
};

// The matrix as A. [round_up(rows, 16)][round_up(width, 32)].
inline void pack_left(const bf16* from, int64_t stride, int64_t rows, int64_t width, bf16* to) {
  const int64_t pitch = round_up(width, 32);
  for (int64_t d = 0; d < width; d += 32) {
    const Columns columns(from, stride, rows, width, d);
    for (int64_t r = 0; r < round_up(rows, 16); ++r) _mm512_storeu_si512(to + r * pitch + d, columns.row(r));
  }
}

UVIC_INLINE void transpose16(__m512i x[16]) {
  __m512i y[16];
  for (int i = 0; i < 16; i += 2) {
    y[i] = _mm512_unpacklo_epi32(x[i], x[i + 1]);
    y[i + 1] = _mm512_unpackhi_epi32(x[i], x[i + 1]);
  }
  for (int i = 0; i < 16; i += 4)
    for (int j = 0; j < 2; ++j) {
      x[i + 2 * j] = _mm512_unpacklo_epi64(y[i + j], y[i + 2 + j]);
      x[i + 2 * j + 1] = _mm512_unpackhi_epi64(y[i + j], y[i + 2 + j]);
    }
  for (int i = 0; i < 16; i += 8)
    for (int j = 0; j < 4; ++j) {
      y[i + j] = _mm512_shuffle_i32x4(x[i + j], x[i + 4 + j], 0x88);
      y[i + 4 + j] = _mm512_shuffle_i32x4(x[i + j], x[i + 4 + j], 0xdd);
    }
  for (int j = 0; j < 8; ++j) {
    x[j] = _mm512_shuffle_i32x4(y[j], y[8 + j], 0x88);
    x[8 + j] = _mm512_shuffle_i32x4(y[j], y[8 + j], 0xdd);
  }
}

// Every element but 0 times 2^power, by its exponent.
UVIC_INLINE __m512i times_power(__m512i x, int power) {
  const __mmask32 nonzero = _mm512_test_epi16_mask(x, _mm512_set1_epi16(0x7fff));
  return _mm512_mask_add_epi16(x, nonzero, x, _mm512_set1_epi16(static_cast<int16_t>(power << 7)));
}

// The transpose, times 2^kPower, as B: depth over width, columns over rows.
// [round_up(width, 32) / 32][round_up(rows, 16) / 16].
template <int kPower = 0>
void pack_right_transposed(const bf16* from, int64_t stride, int64_t rows, int64_t width, bf16* to) {
  for (int64_t d = 0; d < width; d += 32) {
    const Columns columns(from, stride, rows, width, d);
    for (int64_t r = 0; r < rows; r += 16, to += kTileElements) {
      __m512i x[16];
      for (int i = 0; i < 16; ++i) x[i] = columns.row(r + i);
      if constexpr (kPower != 0)
        for (int i = 0; i < 16; ++i) x[i] = times_power(x[i], kPower);
      transpose16(x);
      for (int i = 0; i < 16; ++i) _mm512_storeu_si512(to + 32 * i, x[i]);
    }
  }
}

// Two rows as pairs of elements, columns 0 to 15 and 16 to 31.
struct PairedRows {
  __m512i first, second;
  PairedRows(__m512i a, __m512i b) {
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i each = _mm512_or_si512(lanes, _mm512_slli_epi32(_mm512_or_si512(lanes, _mm512_set1_epi32(32)), 16));
    first = _mm512_permutex2var_epi16(a, each, b);
    second = _mm512_permutex2var_epi16(a, _mm512_or_si512(each, _mm512_set1_epi32(0x100010)), b);
  }
};

// The matrix as B: depth over rows. [round_up(rows, 32) / 32][round_up(width, 16) / 16].
inline void pack_right(const bf16* from, int64_t stride, int64_t rows, int64_t width, bf16* to) {
  const int64_t tiles = round_up(width, 16) / 16;
  for (int64_t d = 0; d < width; d += 32) {
    const Columns columns(from, stride, rows, width, d);
    for (int64_t r = 0; r < round_up(rows, 32); r += 2) {
      const PairedRows pairs(columns.row(r), columns.row(r + 1));
      bf16* tile = to + (r / 32 * tiles + d / 16) * kTileElements + r % 32 * 16;
      _mm512_storeu_si512(tile, pairs.first);
      if (d + 16 < width) _mm512_storeu_si512(tile + kTileElements, pairs.second);
    }
  }
}

// The transpose as A: [round_up(width, 16)][round_up(rows, 32)].
inline void pack_left_transposed(const bf16* from, int64_t stride, int64_t rows, int64_t width, bf16* to) {
  const int64_t pitch = round_up(rows, 32);
  for (int64_t d = 0; d < width; d += 32) {
    const Columns columns(from, stride, rows, width, d);
    for (int64_t r = 0; r < rows; r += 32) {
      __m512i x[2][16];
      for (int i = 0; i < 16; ++i) {
        const PairedRows pairs(columns.row(r + 2 * i), columns.row(r + 2 * i + 1));
        x[0][i] = pairs.first;
        x[1][i] = pairs.second;
      }
      for (int64_t half = 0; half < 2 && d + 16 * half < width; ++half) {
        transpose16(x[half]);
        for (int i = 0; i < 16; ++i) _mm512_storeu_si512(to + (d + 16 * half + i) * pitch + r, x[half][i]);
      }
    }
  }
}

// ---- from results to rows -------------------------------------------------------------------------------------------
// Lane r of the result joins all lanes of x[r].
template <class Join>
UVIC_INLINE F32 join_lanes(const F32* x, const Join& join) {
  F32 y[16];
  for (int i = 0; i < 8; ++i) {
    const F32 a = x[i < 4 ? i : i + 4], b = x[i < 4 ? i + 4 : i + 8];
    y[i] = join(F32{_mm512_shuffle_f32x4(a.v, b.v, 0x88)}, F32{_mm512_shuffle_f32x4(a.v, b.v, 0xdd)});
  }
  for (int i = 0; i < 4; ++i)
    y[i] =
        join(F32{_mm512_shuffle_f32x4(y[i].v, y[i + 4].v, 0x88)}, F32{_mm512_shuffle_f32x4(y[i].v, y[i + 4].v, 0xdd)});
  for (int i = 0; i < 2; ++i)
    y[i] = join(F32{_mm512_unpacklo_ps(y[i].v, y[i + 2].v)}, F32{_mm512_unpackhi_ps(y[i].v, y[i + 2].v)});
  return join(F32{_mm512_unpacklo_ps(y[0].v, y[1].v)}, F32{_mm512_unpackhi_ps(y[0].v, y[1].v)});
}

UVIC_INLINE __m512i to_bf16_pair(F32 a, F32 b) { return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(b.v, a.v)); }

// A row of floats, padded to a multiple of 16, times factor, in bf16.
UVIC_INLINE void unpack_row(const float* from, F32 factor, int64_t width, bf16* to) {
  int64_t d = 0;
  for (; d + 32 <= width; d += 32)
    _mm512_storeu_si512(to + d, to_bf16_pair(load(from + d) * factor, load(from + d + 16) * factor));
  if (const int64_t left = width - d; left > 0) {
    const F32 b = left > 16 ? load(from + d + 16) * factor : set(0.0f);
    _mm512_mask_storeu_epi16(to + d, first_words(left), to_bf16_pair(load(from + d) * factor, b));
  }
}

}  // namespace
}  // namespace uvic::cpu::UVIC_ISA
