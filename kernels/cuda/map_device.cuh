#pragma once

// Feature maps as kernels see them: sixteen bytes of a pixel's channels at a time, which every map's pitch and every
// range of channels is a multiple of.

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/map_index.h"

namespace uvic::cuda {

template <class T>
struct alignas(16) Piece {
  static constexpr int kCount = 16 / sizeof(T);
  T v[kCount];
};

template <class T>
struct DeviceMap {
  T* data;
  MapIndex index;

  __device__ T* at(int64_t n, int64_t i, int64_t j) const { return data + index.at(n, i, j); }
  __device__ Piece<T>& piece(const Place& p) const { return reinterpret_cast<Piece<T>*>(at(p.n, p.i, p.j))[p.part]; }
};
template <class T>
DeviceMap<T> device_map(const FeatureMap& m) {
  return {m.data.data<T>(), index_of(m)};
}

inline int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }
// What maps keep of so many channels: those that are none are zero.
inline int64_t kept_channels(int64_t channels) { return round_up(channels, 16); }
template <class T>
int64_t pieces_of(int64_t channels) {
  return kept_channels(channels) / Piece<T>::kCount;
}
inline int64_t pixels_of(const FeatureMap& m) { return m.B * m.h * m.w; }

// ---- sums over pixels ----------------------------------------------------------------------------------------------
constexpr int kSumRows = kThreads / kWarp;

// map_sums_kernel: a block sums 32 channels over one of the runs of an image's pixels: numbers and, where K is 2, their
// squares. sums [B, runs, K, C] f64; the same order always.
template <int K, class T>
__global__ void __launch_bounds__(kThreads)
    map_sums_kernel(const DeviceMap<T> x, int64_t C, int64_t tiles, int64_t run, double* sums) {
  __shared__ double part[kSumRows][K][kWarp];
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int64_t n = blockIdx.x / tiles, c = blockIdx.x % tiles * kWarp + lane, begin = blockIdx.y * run;
  const int64_t end = min(x.index.h * x.index.w, begin + run);
  double sum[K] = {};
  if (c < C)
    for (int64_t p = begin + warp; p < end; p += kSumRows) {
      const double v = static_cast<double>(to_float(x.at(n, p / x.index.w, p % x.index.w)[c]));
      sum[0] += v;
      if (K > 1) sum[K - 1] += v * v;
    }
  for (int k = 0; k < K; ++k) part[warp][k][lane] = sum[k];
  __syncthreads();
  if (warp >= K || c >= C) return;
  double total = 0;
  for (int i = 0; i < kSumRows; ++i) total += part[i][warp][lane];
  sums[((n * gridDim.y + blockIdx.y) * K + warp) * C + c] = total;
}

struct MapSums {
  double* sums;
  int64_t runs;
};
// Scratch from ctx's current scope. At most `most` runs an image.
template <int K, class T>
MapSums map_sums(Context& ctx, const FeatureMap& x, int64_t most) {
  const int64_t C = x.channels, pixels = x.h * x.w, run = std::max<int64_t>(64, (pixels + most - 1) / most);
  const int64_t runs = (pixels + run - 1) / run, tiles = (C + kWarp - 1) / kWarp;
  double* sums = ctx.empty(DType::f64, {x.B, runs, K, C}).template data<double>();
  launch(ctx, {{static_cast<unsigned>(x.B * tiles), static_cast<unsigned>(runs)}}, map_sums_kernel<K, T>,
         device_map<T>(x), C, tiles, run, sums);
  return {sums, runs};
}

}  // namespace uvic::cuda
