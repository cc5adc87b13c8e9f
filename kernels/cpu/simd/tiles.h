#pragma once

// Products of bf16 matrices on AMX tiles: C (16 x 16 floats) += A (16 x 32) B (32 x 16). Compiled for amx only.
//
//   A   rows of bf16, pitch bytes apart, the depth padded to a multiple of 32
//   B   tiles of 1 KB, [depth / 32][columns / 16]; row p of a tile holds depths 2p and 2p + 1 of its 16 columns as
//   pairs C   rows of floats, pitch bytes apart
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
    Config config;
    _tile_loadconfig(&config);
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

// kM x kN tiles of C from a depth of 32 steps. Tiles 0-3 hold C, 4 and 5 A, 6 and 7 B: two by two needs one load for
// each product, and a product takes twice as long as a load.
template <int kM, int kN>
UVIC_INLINE void multiply_tiles(const char* a, int64_t a_pitch, const bf16* b, int64_t b_columns, int64_t steps,
                                char* c, int64_t c_pitch, bool add) {
  if (add) {
    _tile_loadd(0, c, c_pitch);
    if constexpr (kN > 1) _tile_loadd(1, c + 64, c_pitch);
    if constexpr (kM > 1) _tile_loadd(2, c + 16 * c_pitch, c_pitch);
    if constexpr (kM > 1 && kN > 1) _tile_loadd(3, c + 16 * c_pitch + 64, c_pitch);
  } else {
    _tile_zero(0);
    if constexpr (kN > 1) _tile_zero(1);
    if constexpr (kM > 1) _tile_zero(2);
    if constexpr (kM > 1 && kN > 1) _tile_zero(3);
  }
  for (int64_t k = 0; k < steps; ++k) {
    const bf16* bk = b + k * b_columns * kTileElements;
    _tile_loadd(6, bk, 64);
    _tile_loadd(4, a + 64 * k, a_pitch);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (kN > 1) {
      _tile_loadd(7, bk + kTileElements, 64);
      _tile_dpbf16ps(1, 4, 7);
    }
    if constexpr (kM > 1) {
      _tile_loadd(5, a + 16 * a_pitch + 64 * k, a_pitch);
      _tile_dpbf16ps(2, 5, 6);
      if constexpr (kN > 1) _tile_dpbf16ps(3, 5, 7);
    }
  }
  _tile_stored(0, c, c_pitch);
  if constexpr (kN > 1) _tile_stored(1, c + 64, c_pitch);
  if constexpr (kM > 1) _tile_stored(2, c + 16 * c_pitch, c_pitch);
  if constexpr (kM > 1 && kN > 1) _tile_stored(3, c + 16 * c_pitch + 64, c_pitch);
}

struct TileLeft {
  const bf16* a;
  int64_t pitch;
};
struct TileRight {
  const bf16* b;
  int64_t columns;  // tiles from one depth step to the next, at least those of the product
};
struct TileResult {
  float* c;
  int64_t pitch;
};

// C [16 m, 16 n] = (add ? C : 0) + A [16 m, 32 steps] B [32 steps, 16 n].
inline void multiply(int64_t m, int64_t n, int64_t steps, TileLeft left, TileRight right, TileResult result, bool add) {
  __asm__ volatile("" ::: "memory");  // GCC 12 does not know that a tile load reads memory
  const auto* a = reinterpret_cast<const char*>(left.a);
  auto* c = reinterpret_cast<char*>(result.c);
  for (int64_t j = 0; j < n; j += 2) {
    const bf16* b = right.b + j * kTileElements;
    for (int64_t i = 0; i < m; i += 2) {
      const char* ai = a + 16 * i * left.pitch;
      char* cij = c + 16 * i * result.pitch + 64 * j;
      if (i + 1 < m) {
        if (j + 1 < n) {
          multiply_tiles<2, 2>(ai, left.pitch, b, right.columns, steps, cij, result.pitch, add);
        } else {
          multiply_tiles<2, 1>(ai, left.pitch, b, right.columns, steps, cij, result.pitch, add);
        }
      } else {
        if (j + 1 < n) {
          multiply_tiles<1, 2>(ai, left.pitch, b, right.columns, steps, cij, result.pitch, add);
        } else {
          multiply_tiles<1, 1>(ai, left.pitch, b, right.columns, steps, cij, result.pitch, add);
        }
      }
    }
  }
}

// ---- from rows of a [rows, width] matrix, stride elements apart, to operands ---------------------------------------
UVIC_INLINE __mmask32 first_words(int64_t n) {
  return _bzhi_u32(0xffffffffu, static_cast<unsigned>(n < 0 ? 0 : n > 32 ? 32 : n));
}

// The matrix as A, times a power of two. [round_up(rows, 16)][round_up(width, 32)].
inline void pack_left(const bf16* from, int64_t stride, int64_t rows, int64_t width, float power, bf16* to) {
  for (int64_t r = 0; r < round_up(rows, 16); ++r) {
    for (int64_t d = 0; d < width; d += 32, to += 32) {
      const __m512i x = _mm512_maskz_loadu_epi16(r < rows ? first_words(width - d) : 0, from + r * stride + d);
      _mm512_storeu_si512(to, x);
      if (power == 1) continue;
      for (int half = 0; half < 32; half += 16) store(to + half, load(to + half) * power);
    }
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

// The transpose as B: depth runs over width, columns over rows. [round_up(width, 32) / 32][round_up(rows, 16) / 16].
inline void pack_right_transposed(const bf16* from, int64_t stride, int64_t rows, int64_t width, bf16* to) {
  for (int64_t d = 0; d < width; d += 32) {
    for (int64_t r = 0; r < rows; r += 16, to += kTileElements) {
      __m512i x[16];
      for (int i = 0; i < 16; ++i)
        x[i] = _mm512_maskz_loadu_epi16(r + i < rows ? first_words(width - d) : 0, from + (r + i) * stride + d);
      transpose16(x);
      for (int i = 0; i < 16; ++i) _mm512_storeu_si512(to + 32 * i, x[i]);
    }
  }
}

// Row r and row r + 1, columns d to d + 15, as pairs.
UVIC_INLINE __m512i pair_rows(const bf16* from, int64_t stride, int64_t r, int64_t rows, int64_t d, int64_t width) {
  const auto columns = static_cast<__mmask16>(first_words(width - d));
  const __m256i lo = _mm256_maskz_loadu_epi16(r < rows ? columns : 0, from + r * stride + d);
  const __m256i hi = _mm256_maskz_loadu_epi16(r + 1 < rows ? columns : 0, from + (r + 1) * stride + d);
  return _mm512_or_si512(_mm512_cvtepu16_epi32(lo), _mm512_slli_epi32(_mm512_cvtepu16_epi32(hi), 16));
}

// The matrix as B: depth runs over rows. [round_up(rows, 32) / 32][round_up(width, 16) / 16].
inline void pack_right(const bf16* from, int64_t stride, int64_t rows, int64_t width, bf16* to) {
  for (int64_t r = 0; r < rows; r += 32)
    for (int64_t d = 0; d < width; d += 16)
      for (int64_t i = 0; i < 32; i += 2, to += 32)
        _mm512_storeu_si512(to, pair_rows(from, stride, r + i, rows, d, width));
}

// The transpose as A: [round_up(width, 16)][round_up(rows, 32)].
inline void pack_left_transposed(const bf16* from, int64_t stride, int64_t rows, int64_t width, bf16* to) {
  const int64_t pitch = round_up(rows, 32);
  for (int64_t r = 0; r < rows; r += 32) {
    for (int64_t d = 0; d < width; d += 16) {
      __m512i x[16];
      for (int i = 0; i < 16; ++i) x[i] = pair_rows(from, stride, r + 2 * i, rows, d, width);
      transpose16(x);
      for (int i = 0; i < 16; ++i) _mm512_storeu_si512(to + (d + i) * pitch + r, x[i]);
    }
  }
}

}  // namespace
}  // namespace uvic::cpu::UVIC_ISA
