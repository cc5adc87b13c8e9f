#pragma once

// A CUDA block played on the host, thread after thread: what attention's tile loops run on in a test. ldmatrix and mma
// are spelled out from the PTX manual (sections "ldmatrix" and "Matrix Fragments for mma.m16n8k16"), sharing nothing
// with the kernels' own address arithmetic.

#include <array>
#include <cmath>
#include <cstring>

#include "kernels/cuda/attention_tile.h"

namespace uvic::test {

struct HostWarp {
  template <class T, int N>
  struct Registers {
    T v[32][N];
    T* of(int lane) { return v[lane]; }
    const T* of(int lane) const { return v[lane]; }
  };

  template <class F>
  static void each_lane(const F& f) {
    for (int lane = 0; lane < 32; ++lane) f(lane);
  }

  // Lane 8 i + r names row r of matrix i. A lane receives from matrix i, in register i, the pair (row lane / 4, columns
  // 2 (lane % 4) and the next); of the transposed matrix if asked.
  template <bool transposed, class Address>
  static void load(Registers<uint32_t, 4>& to, const Address& address) {
    const auto element = [&](int matrix, int row, int column) {
      return uint32_t{address(8 * matrix + (transposed ? column : row))[transposed ? row : column].bits};
    };
    for (int lane = 0; lane < 32; ++lane)
      for (int i = 0; i < 4; ++i)
        to.v[lane][i] = element(i, lane / 4, lane % 4 * 2) | element(i, lane / 4, lane % 4 * 2 + 1) << 16;
  }

  static float part(uint32_t pair, int i) { return to_float(bf16{static_cast<uint16_t>(pair >> (16 * i))}); }

  static void mma(Registers<float, 4>& c, const Registers<uint32_t, 4>& a, const Registers<uint32_t, 4>& b, int half) {
    float left[16][16], right[16][8];
    for (int lane = 0; lane < 32; ++lane) {
      const int group = lane >> 2, member = lane % 4;
      for (int i = 0; i < 8; ++i) {  // a_i: 8 rows down for i in 2, 3, 6, 7; 8 columns to the right for i >= 4
        const int row = i < 2 || (i >= 4 && i < 6) ? group : group + 8;
        left[row][member * 2 + (i & 1) + (i >= 4 ? 8 : 0)] = part(a.v[lane][i / 2], i & 1);
      }
      for (int i = 0; i < 4; ++i)
        right[member * 2 + (i & 1) + (i >= 2 ? 8 : 0)][group] = part(b.v[lane][2 * half + i / 2], i & 1);
    }
    for (int lane = 0; lane < 32; ++lane)
      for (int i = 0; i < 4; ++i) {
        const int row = i < 2 ? lane >> 2 : (lane >> 2) + 8, column = lane % 4 * 2 + (i & 1);
        float sum = c.v[lane][i];
        for (int k = 0; k < 16; ++k) sum += left[row][k] * right[k][column];
        c.v[lane][i] = sum;
      }
  }

  template <class T, int N, class F>
  static void over_quads(Registers<T, N>& x, const F& f) {
    for (int lane = 0; lane < 32; lane += 4)
      for (int i = 0; i < N; ++i) {
        const T all = f(f(x.v[lane][i], x.v[lane + 1][i]), f(x.v[lane + 2][i], x.v[lane + 3][i]));
        for (int j = 0; j < 4; ++j) x.v[lane + j][i] = all;
      }
  }
  template <int N>
  static void quad_max(Registers<float, N>& x) {
    over_quads(x, [](float a, float b) { return std::max(a, b); });
  }
  template <int N>
  static void quad_sum(Registers<float, N>& x) {
    over_quads(x, [](float a, float b) { return a + b; });
  }

  static float exp(float x) { return std::exp(x); }
  static uint32_t pack(float low, float high) { return to_bf16(low).bits | uint32_t{to_bf16(high).bits} << 16; }
  static void store_pair(bf16* at, uint32_t pair) { std::memcpy(at, &pair, sizeof pair); }
};

struct HostBlock {
  using Warp = HostWarp;
  template <class T>
  struct PerWarp {
    std::array<T, cuda::kAttentionWarps> all;
    T& of(int warp) { return all[static_cast<size_t>(warp)]; }
  };

  template <class F>
  void each_thread(const F& f) {
    for (int thread = 0; thread < cuda::kAttentionThreads; ++thread) f(thread);
  }
  template <class F>
  void each_warp(const F& f) {
    for (int warp = 0; warp < cuda::kAttentionWarps; ++warp) f(warp);
  }
  void copy(const bf16* from, bf16* to, bool exist) {
    for (int i = 0; i < 8; ++i) to[i] = exist ? from[i] : bf16{0};
  }
  void barrier() {}
};

}  // namespace uvic::test
