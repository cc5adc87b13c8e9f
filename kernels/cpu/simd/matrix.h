#pragma once

// Small dense products in f32 for kernels that stay in cache, where a call into a library would cost more than it
// saves. For files that are compiled once for each instruction set (see vec.h).

#include "kernels/cpu/simd/vec.h"

namespace uvic::cpu::UVIC_ISA {
namespace {

constexpr int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

// Rows and vectors of C held in registers: 16 accumulators of AVX-512's 32 registers, 8 of AVX2's 16, enough to hide
// the latency of an fma; at least twice as many fma as loads.
#ifdef __AVX512F__
constexpr int kTileRows = 8, kTileVectors = 2;
#else
constexpr int kTileRows = 4, kTileVectors = 1;
#endif

// An element (m, k) of the left factor lies at a[m * row + k * column], so it may be read transposed.
struct Left {
  const float* a;
  int64_t row, column;
};

template <int kVectors>
UVIC_INLINE void multiply_tile(Left left, const float* b, int64_t ldb, int64_t depth, float* c, int64_t ldc, bool add) {
  F32 sums[kTileRows][kVectors];
  for (int m = 0; m < kTileRows; ++m)
    for (int n = 0; n < kVectors; ++n) sums[m][n] = add ? load(c + m * ldc + 16 * n) : set(0.0f);
  for (int64_t k = 0; k < depth; ++k) {
    F32 bk[kVectors];
    for (int n = 0; n < kVectors; ++n) bk[n] = load(b + k * ldb + 16 * n);
    for (int m = 0; m < kTileRows; ++m) {
      const F32 amk = set(left.a[m * left.row + k * left.column]);
      for (int n = 0; n < kVectors; ++n) sums[m][n] = fma(amk, bk[n], sums[m][n]);
    }
  }
  for (int m = 0; m < kTileRows; ++m)
    for (int n = 0; n < kVectors; ++n) store(c + m * ldc + 16 * n, sums[m][n]);
}

// C [rows, columns] = (add ? C : 0) + left [rows, depth] * B [depth, columns]. Rows are a multiple of 8, columns of 16.
// Each element is one chain of fma over k, so it does not depend on how the work is cut.
inline void multiply(int64_t rows, int64_t columns, int64_t depth, Left left, const float* b, int64_t ldb, float* c,
                     int64_t ldc, bool add) {
  for (int64_t n = 0; n < columns;) {
    const bool wide = columns - n >= 16 * kTileVectors;
    for (int64_t m = 0; m < rows; m += kTileRows) {
      const Left below{left.a + m * left.row, left.row, left.column};
      if (wide) {
        multiply_tile<kTileVectors>(below, b + n, ldb, depth, c + m * ldc + n, ldc, add);
      } else {
        multiply_tile<1>(below, b + n, ldb, depth, c + m * ldc + n, ldc, add);
      }
    }
    n += wide ? 16 * kTileVectors : 16;
  }
}

// Copies rows of width columns, stride apart, to f32 rows of ld >= width; the other columns, and the rows up to
// padded_rows, become 0.
template <class T>
void pack(const T* from, int64_t stride, int64_t rows, int64_t width, float* to, int64_t padded_rows, int64_t ld) {
  for (int64_t r = 0; r < padded_rows; ++r) {
    for (int64_t d = 0; d < ld; d += 16) {
      const int64_t n = r >= rows || d >= width ? 0 : width - d;
      store(to + r * ld + d, n >= 16 ? load(from + r * stride + d) : n ? load(from + r * stride + d, n) : set(0.0f));
    }
  }
}

// The mirror of pack: times factor, rounded to T.
template <class T>
void unpack(const float* from, int64_t ld, float factor, int64_t rows, int64_t width, T* to, int64_t stride) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t d = 0; d < width; d += 16) {
      const F32 x = load(from + r * ld + d) * factor;
      if (width - d >= 16) {
        store(to + r * stride + d, x);
      } else {
        store(to + r * stride + d, x, width - d);
      }
    }
  }
}

// to [columns, rows] = from [rows, columns]^T; both a multiple of 8.
inline void transpose(const float* from, int64_t ld_from, int64_t rows, int64_t columns, float* to, int64_t ld_to) {
  for (int64_t r = 0; r < rows; r += 8) {
    for (int64_t c = 0; c < columns; c += 8) {
      __m256 x[8], y[8];
      for (int i = 0; i < 8; ++i) x[i] = _mm256_loadu_ps(from + (r + i) * ld_from + c);
      for (int i = 0; i < 8; i += 2) {
        y[i] = _mm256_unpacklo_ps(x[i], x[i + 1]);
        y[i + 1] = _mm256_unpackhi_ps(x[i], x[i + 1]);
      }
      for (int i = 0; i < 8; i += 4) {
        x[i] = _mm256_shuffle_ps(y[i], y[i + 2], 0x44);
        x[i + 1] = _mm256_shuffle_ps(y[i], y[i + 2], 0xee);
        x[i + 2] = _mm256_shuffle_ps(y[i + 1], y[i + 3], 0x44);
        x[i + 3] = _mm256_shuffle_ps(y[i + 1], y[i + 3], 0xee);
      }
      for (int i = 0; i < 4; ++i) {
        _mm256_storeu_ps(to + (c + i) * ld_to + r, _mm256_permute2f128_ps(x[i], x[i + 4], 0x20));
        _mm256_storeu_ps(to + (c + i + 4) * ld_to + r, _mm256_permute2f128_ps(x[i], x[i + 4], 0x31));
      }
    }
  }
}

}  // namespace
}  // namespace uvic::cpu::UVIC_ISA
