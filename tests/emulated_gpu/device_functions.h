#pragma once

// What kernels see: CUDA's words, built-in variables and functions. A kernel is an ordinary function that runs once for
// each thread; threads of a block take turns on one thread of the host (blocks.h).

#include <math.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "blocks.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
// Of the one thread of the host that runs blocks; see fill_shared_memory in blocks.cpp.
#define __shared__ thread_local

struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

// ---- what threads do together --------------------------------------------------------------------------------------
inline void __syncthreads() { emulated_gpu::meet_block("__syncthreads", 0); }
inline int __syncthreads_or(int x) { return emulated_gpu::meet_block("__syncthreads_or", x != 0).any; }
inline int __syncthreads_and(int x) { return !emulated_gpu::meet_block("__syncthreads_and", x == 0).any; }
inline int __syncthreads_count(int x) { return emulated_gpu::meet_block("__syncthreads_count", x != 0).count; }

inline void __syncwarp(unsigned mask = ~0u) {
  emulated_gpu::meet_warp("__syncwarp", mask, nullptr, [](const emulated_gpu::Lanes&) {});
}

namespace emulated_gpu {

template <class T>
struct Shuffle {
  T give, get;
  int source;  // a lane, or -1 for the own value
};
template <class T>
T shuffle(const char* what, unsigned mask, T value, int source) {
  static_assert(std::is_trivially_copyable_v<T> && (sizeof(T) == 4 || sizeof(T) == 8));
  Shuffle<T> own{value, value, source};
  meet_warp(what, mask, &own, [](const Lanes& lanes) {
    for (void* const lane : lanes.data) {
      if (!lane) continue;
      auto& to = *static_cast<Shuffle<T>*>(lane);
      if (to.source < 0) continue;
      const void* from = lanes.data[to.source];
      if (!from) stop("%s reads lane %d, which does not take part", lanes.what, to.source);
      to.get = static_cast<const Shuffle<T>*>(from)->give;
    }
  });
  return own.get;
}
// The lane's place in its group of width lanes, and the group's first lane.
inline int lane_in(int width) { return lane() & (width - 1); }
inline int first_of(int width) { return lane() & ~(width - 1); }

}  // namespace emulated_gpu

template <class T>
T __shfl_sync(unsigned mask, T value, int from, int width = 32) {
  return emulated_gpu::shuffle("__shfl_sync", mask, value, emulated_gpu::first_of(width) + (from & (width - 1)));
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32) {
  const int from = emulated_gpu::lane() ^ bits;
  return emulated_gpu::shuffle("__shfl_xor_sync", mask, value, from / width > emulated_gpu::lane() / width ? -1 : from);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned step, int width = 32) {
  const int from = emulated_gpu::lane_in(width) + static_cast<int>(step);
  return emulated_gpu::shuffle("__shfl_down_sync", mask, value,
                               from < width ? emulated_gpu::first_of(width) + from : -1);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned step, int width = 32) {
  const int from = emulated_gpu::lane_in(width) - static_cast<int>(step);
  return emulated_gpu::shuffle("__shfl_up_sync", mask, value, from >= 0 ? emulated_gpu::first_of(width) + from : -1);
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
  struct Vote {
    unsigned give, get;
  } own{predicate != 0 ? 1u << emulated_gpu::lane() : 0u, 0};
  emulated_gpu::meet_warp("__ballot_sync", mask, &own, [](const emulated_gpu::Lanes& lanes) {
    unsigned all = 0;
    for (void* const lane : lanes.data) all |= lane ? static_cast<Vote*>(lane)->give : 0;
    for (void* const lane : lanes.data)
      if (lane) static_cast<Vote*>(lane)->get = all;
  });
  return own.get;
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) == mask; }

template <class T>
T atomicAdd(T* to, std::type_identity_t<T> x) {
  return std::atomic_ref<T>(*to).fetch_add(x);
}
template <class T>
T atomicMax(T* to, std::type_identity_t<T> x) {
  const T old = *to;
  if (old < x) *to = x;
  return old;
}
inline void __threadfence() {}
inline void __threadfence_block() {}

// ---- arithmetic ----------------------------------------------------------------------------------------------------
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsqrt_rn(float a) { return sqrtf(a); }
inline float __expf(float x) { return exp2f(x * 1.4426950408889634f); }
inline float __logf(float x) { return log2f(x) * 0.6931471805599453f; }
inline float __fdividef(float a, float b) { return a / b; }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }
template <class T>
T __ldg(const T* p) {
  return *p;
}

template <class A, class B>
constexpr std::common_type_t<A, B> min(A a, B b) {
  using T = std::common_type_t<A, B>;
  return static_cast<T>(b) < static_cast<T>(a) ? static_cast<T>(b) : static_cast<T>(a);
}
template <class A, class B>
constexpr std::common_type_t<A, B> max(A a, B b) {
  using T = std::common_type_t<A, B>;
  return static_cast<T>(a) < static_cast<T>(b) ? static_cast<T>(b) : static_cast<T>(a);
}
