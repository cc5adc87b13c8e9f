#pragma once

// Attention's inner loops on tiles of 16 x 16 bf16, for a block of four warps. They are templates over what runs them,
// a CUDA block (attention_device.cuh), and name no instruction themselves: which lane holds what is all that is here. A
// kernel file in all but name, so longer than a header should be.
//
// A Block has
//   each_thread(f), each_warp(f), barrier()      f(thread), f(warp)
//   PerWarp<T>                                   a T for each warp: of(warp)
//   Warp                                         what a warp does together:
//     Registers<T, N>                            N values a lane: of(lane) is their address
//     each_lane(f)                               f(lane)
//     load<transposed>(to, address)              ldmatrix.x4: four 8 x 8 matrices, rows at address(lane)
//     mma(c, a, b, half)                         mma.m16n8k16: c += a b, b's registers 2 half and 2 half + 1
//     quad_max(x), quad_sum(x)                   over the four lanes that share rows of an accumulator
//     exp(x), pack(low, high)                    pairs of bf16, rounded to nearest
//     store_pair(at, pair)                       at is a multiple of 4 bytes

#include <cmath>
#include <cstring>

#include "kernels/core/tensor.h"
#include "kernels/cuda/attention_real.h"

#ifdef __CUDA_ARCH__
#define UVIC_UNROLL _Pragma("unroll")
#else
#define UVIC_UNROLL
#endif

namespace uvic::cuda {

constexpr int kAttentionWarps = 4;
constexpr int kAttentionThreads = 32 * kAttentionWarps;
constexpr int kOwn = 16 * kAttentionWarps;  // rows, or in the key gradient's pass keys, that a block makes

// Keys (forward) or keys or rows (backward) of one step of a block's loop, for padded width kD. Not measured yet:
// chosen so that accumulators and scores of the widest head stay in registers.
constexpr int kForwardStep = 64;
constexpr int kBackwardStep = 32;

// bf16 from row to row of a tile in shared memory: an odd number of 16 bytes, so that the eight rows of a matrix lie in
// different banks.
template <int kD>
constexpr int kTileStride = kD + 8;

// Head widths with a kernel; others take the next one, padded with zeros.
constexpr int kTileWidths[] = {32, 64, 80, 96, 128};

struct AttentionSize {
  int64_t L, D;
  float scale;
  bool causal;
  bool wide;  // rows begin at multiples of 16 bytes
};

// Rows l of one head: elements [l * stride, l * stride + D).
template <class T>
struct HeadRows {
  T* data;
  int64_t stride;
};

// Between multiples of 16 bytes: one instruction each way.
UVIC_HD inline void copy_16_bytes(const void* from, void* to) {
  std::memcpy(__builtin_assume_aligned(to, 16), __builtin_assume_aligned(from, 16), 16);
}

// Loads rows [first, first + kRows) of a head; zeros behind L and D, since what lies there is multiplied.
template <int kD, int kRows>
UVIC_HD inline void load_tile(int thread, const AttentionSize& s, const HeadRows<const bf16>& from, int64_t first,
                              bf16* to) {
  constexpr int kChunks = kD / 8;
  for (int i = thread; i < kRows * kChunks; i += kAttentionThreads) {
    const int64_t row = first + i / kChunks;
    const int column = i % kChunks * 8;
    bf16* at = to + i / kChunks * kTileStride<kD> + column;
    const bf16* src = from.data + row * from.stride + column;
    if (s.wide && row < s.L && column < s.D) {  // D is a multiple of 8
      copy_16_bytes(src, at);
    } else {
      for (int j = 0; j < 8; ++j) at[j] = row < s.L && column + j < s.D ? src[j] : bf16{0};
    }
  }
}

// Value i of an accumulator lies in this row and column of its 16 x 8 tile.
UVIC_HD constexpr int tile_row(int lane, int i) { return lane / 4 + i / 2 * 8; }
UVIC_HD constexpr int tile_column(int lane, int i) { return lane % 4 * 2 + i % 2; }

// What every pass does with its 16 rows of a 16 x 16 n product, as functions of the Warp W.
template <class W, int kD>
struct Tiles {
  using Accumulator = typename W::template Registers<float, 4>;
  using Fragment = typename W::template Registers<uint32_t, 4>;
  static constexpr int kStride = kTileStride<kD>;

  template <int N>
  UVIC_HD static void clear(Accumulator (&c)[N]) {
    W::each_lane([&](int lane) {
      UVIC_UNROLL
      for (int n = 0; n < N; ++n) {
        UVIC_UNROLL
        for (int i = 0; i < 4; ++i) c[n].of(lane)[i] = 0;
      }
    });
  }

  // c [16, 16 count] = a b^T: a 16 rows, b 16 count rows of kD.
  template <int N>
  UVIC_HD static void scores(const bf16* a, const bf16* b, int count, Accumulator (&c)[N]) {
    clear(c);
    UVIC_UNROLL
    for (int k = 0; k < kD; k += 16) {
      Fragment left;
      W::template load<false>(left, [&](int lane) { return a + lane % 16 * kStride + k + lane / 16 * 8; });
      UVIC_UNROLL
      for (int n = 0; n < N / 2; ++n) {
        if (n >= count) break;
        Fragment right;
        W::template load<false>(
            right, [&](int lane) { return b + (16 * n + lane % 8 + lane / 16 * 8) * kStride + k + lane / 8 % 2 * 8; });
        W::mma(c[2 * n], left, right, 0);
        W::mma(c[2 * n + 1], left, right, 1);
      }
    }
  }

  // c [16, kD] += a b: a [16, 16 count] in fragments, b 16 count rows of kD.
  template <int N>
  UVIC_HD static void add_product(const Fragment (&a)[N], const bf16* b, int count, Accumulator (&c)[kD / 8]) {
    UVIC_UNROLL
    for (int n = 0; n < N; ++n) {
      if (n >= count) break;
      UVIC_UNROLL
      for (int d = 0; d < kD / 16; ++d) {
        Fragment right;
        W::template load<true>(right,
                               [&](int lane) { return b + (16 * n + lane % 16) * kStride + 16 * d + lane / 16 * 8; });
        W::mma(c[2 * d], a[n], right, 0);
        W::mma(c[2 * d + 1], a[n], right, 1);
      }
    }
  }

  // An accumulator's pairs are a left fragment's: two 16 x 8 tiles side by side make one of 16 x 16.
  UVIC_HD static void put(Fragment& to, int lane, int tile, int half, float low, float high) {
    to.of(lane)[tile % 2 * 2 + half] = W::pack(low, high);
  }

  // Rows [first, first + 16) = c, each times factor's value for the lane's lower or upper row.
  UVIC_HD static void store(const Accumulator (&c)[kD / 8], const typename W::template Registers<float, 2>& factor,
                            const AttentionSize& s, int64_t first, const HeadRows<bf16>& to) {
    W::each_lane([&](int lane) {
      UVIC_UNROLL
      for (int half = 0; half < 2; ++half) {
        const int64_t row = first + tile_row(lane, 2 * half);
        if (row >= s.L) continue;
        bf16* at = to.data + row * to.stride;
        const float f = factor.of(lane)[half];
        UVIC_UNROLL
        for (int n = 0; n < kD / 8; ++n) {
          const int column = 8 * n + tile_column(lane, 0);
          const float low = c[n].of(lane)[2 * half] * f, high = c[n].of(lane)[2 * half + 1] * f;
          if (s.wide && column < s.D) {
            W::store_pair(at + column, W::pack(low, high));
          } else {
            if (column < s.D) at[column] = to_bf16(low);
            if (column + 1 < s.D) at[column + 1] = to_bf16(high);
          }
        }
      }
    });
  }
};

// Groups of 16 that hold the numbers below end of a step that begins at first.
template <int kStep>
UVIC_HD inline int groups_of(int64_t first, int64_t end) {
  const int64_t n = (end - first + 15) / 16;
  return static_cast<int>(n < kStep / 16 ? n : kStep / 16);
}

UVIC_HD inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// How many columns of the step that begins at key, from the lane's first one on, a row may look at; 0 or less if none.
// One number a row, so that the mask of a score is one comparison.
template <int kStep>
UVIC_HD inline int columns_seen(const AttentionSize& s, int64_t row, int64_t key, int lane) {
  const int64_t end = s.causal ? smaller(s.L, row + 1) : s.L;
  return static_cast<int>(smaller(end - key, kStep)) - tile_column(lane, 0);
}

}  // namespace uvic::cuda
