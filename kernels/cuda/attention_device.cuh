#pragma once

// A CUDA block as attention_tile.h wants it: every function runs in all threads, and does this thread's share.

#include "kernels/cuda/attention_tile.h"
#include "kernels/cuda/ptx.cuh"

namespace uvic::cuda {

struct DeviceWarp {
  template <class T, int N>
  struct Registers {
    T v[N];
    __device__ T* of(int) { return v; }
    __device__ const T* of(int) const { return v; }
  };

  template <class F>
  __device__ static void each_lane(const F& f) {
    f(static_cast<int>(threadIdx.x % 32));
    __syncwarp();  // what follows, ldmatrix and mma, takes the whole warp, and f may have branched
  }

  template <bool transposed, class Address>
  __device__ static void load(Registers<uint32_t, 4>& to, const Address& address) {
    load_matrices<transposed>(to.v, address(static_cast<int>(threadIdx.x % 32)));
  }

  __device__ static void mma(Registers<float, 4>& c, const Registers<uint32_t, 4>& a, const Registers<uint32_t, 4>& b,
                             int half) {
    multiply_matrices(c.v, a.v, b.v[2 * half], b.v[2 * half + 1]);
  }

  template <int N>
  __device__ static void quad_max(Registers<float, N>& x) {
    for (int i = 0; i < N; ++i) {
      x.v[i] = fmaxf(x.v[i], __shfl_xor_sync(~0u, x.v[i], 1));
      x.v[i] = fmaxf(x.v[i], __shfl_xor_sync(~0u, x.v[i], 2));
    }
  }
  template <int N>
  __device__ static void quad_sum(Registers<float, N>& x) {
    for (int i = 0; i < N; ++i) {
      x.v[i] += __shfl_xor_sync(~0u, x.v[i], 1);
      x.v[i] += __shfl_xor_sync(~0u, x.v[i], 2);
    }
  }

  // Within 2 ulp and the rounding of x log2(e), both far below bf16's.
  __device__ static float exp(float x) { return __expf(x); }
  __device__ static uint32_t pack(float low, float high) { return pack_pair(low, high); }
  __device__ static void store_pair(bf16* at, uint32_t pair) { *reinterpret_cast<uint32_t*>(at) = pair; }
};

struct DeviceBlock {
  using Warp = DeviceWarp;
  template <class T>
  struct PerWarp {
    T own;
    __device__ T& of(int) { return own; }
  };

  template <class F>
  __device__ void each_thread(const F& f) {
    f(static_cast<int>(threadIdx.x));
  }
  template <class F>
  __device__ void each_warp(const F& f) {
    f(static_cast<int>(threadIdx.x / 32));
  }
  __device__ void copy(const bf16* from, bf16* to, bool exist) { begin_copy_16(from, to, exist); }
  __device__ void barrier() {
    wait_for_copies();
    __syncthreads();
  }
};

}  // namespace uvic::cuda
