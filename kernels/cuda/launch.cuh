#pragma once

// What the kernel files share: launches with their row bound, sums over a warp and a block, wide loads.

#include <algorithm>
#include <type_traits>
#include <utility>

#include "kernels/core/with_dtype.h"
#include "kernels/cuda/device.h"

namespace uvic::cuda {

constexpr int kThreads = 256;  // of a block, where nothing else is said
constexpr int kWarp = 32;

// Blocks that do n pieces of work, per_block at a time.
inline unsigned blocks_for(int64_t n, int64_t per_block) {
  return static_cast<unsigned>(std::max<int64_t>(1, (n + per_block - 1) / per_block));
}

struct Grid {
  dim3 blocks;
  int threads = kThreads;  // of a block
  size_t shared = 0;       // bytes of dynamic_shared
};
extern __shared__ uint4 dynamic_shared[];

// Queues kernel on ctx's stream; args are converted to its parameters.
template <class... Params, class... Args>
void launch(Context& ctx, const Grid& grid, void (*kernel)(Params...), Args&&... args) {
  cudaLaunchConfig_t config{};
  config.gridDim = grid.blocks;
  config.blockDim = dim3(static_cast<unsigned>(grid.threads));
  config.dynamicSmemBytes = grid.shared;
  config.stream = state(ctx).stream;
  UVIC_CUDA_CHECK(cudaLaunchKernelEx(&config, kernel, std::forward<Args>(args)...));
}

// f(i) for i in [0, n), a thread each. All bounds of elementwise kernels are this one.
template <class F>
__global__ void __launch_bounds__(kThreads) for_each_kernel(int64_t n, const F f) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i < n) f(i);
}
template <class F>
void for_each(Context& ctx, int64_t n, const F& f) {
  if (n == 0) return;
  launch(ctx, {blocks_for(n, kThreads)}, for_each_kernel<F>, n, f);
}

// N numbers side by side, which one instruction loads or stores.
template <class T, int N>
struct alignas(N * sizeof(T)) Numbers {
  T v[N];
};
template <int N, class T>
__device__ inline Numbers<T, N> load(const T* at) {
  return *reinterpret_cast<const Numbers<T, N>*>(at);
}
template <int N, class T>
__device__ inline void store(const Numbers<T, N>& x, T* at) {
  *reinterpret_cast<Numbers<T, N>*>(at) = x;
}
// Calls f with 4, as a constant, if 4 divides n and all of p, null or not, may be loaded four at a time; else with 1.
// One number a thread leaves memory half idle: too few bytes are on their way.
template <class F, class... T>
void with_numbers_a_thread(const F& f, int64_t n, const T*... p) {
  const bool four = n % 4 == 0 && ((reinterpret_cast<uintptr_t>(p) % sizeof(Numbers<T, 4>) == 0) && ...);
  four ? f(std::integral_constant<int, 4>{}) : f(std::integral_constant<int, 1>{});
}

// The sum over a warp, in every lane; the same order always.
template <class T>
__device__ inline T warp_sum(T x) {
  for (int step = kWarp / 2; step > 0; step /= 2) x += __shfl_xor_sync(~0u, x, step);
  return x;
}

// The sum over a block of kThreads, in every thread. All of them must call it.
template <class T>
__device__ inline T block_sum(T x) {
  __shared__ T part[kThreads / kWarp];
  x = warp_sum(x);
  __syncthreads();  // part may still be read by the call before
  if (threadIdx.x % kWarp == 0) part[threadIdx.x / kWarp] = x;
  __syncthreads();
  T total = 0;
  for (int i = 0; i < kThreads / kWarp; ++i) total += part[i];
  return total;
}

// ---- sums of columns ----------------------------------------------------------------------------------------------
// f(row, column, k) for k < K is what to sum over rows. Pieces of rows first, each in order, into sums [pieces, K,
// columns]; then the pieces in order: the same bits always, and no atomics.
template <int K, class F>
__global__ void __launch_bounds__(kThreads)
    column_pieces_kernel(int64_t rows, int64_t columns, int64_t piece, const F f, float* sums) {
  const int64_t c = int64_t{blockIdx.x} * kThreads + threadIdx.x, begin = blockIdx.y * piece;
  if (c >= columns) return;
  float sum[K] = {};
  for (int64_t r = begin; r < min(rows, begin + piece); ++r) f(r, c, sum);
  for (int k = 0; k < K; ++k) sums[(int64_t{blockIdx.y} * K + k) * columns + c] = sum[k];
}

// out[k][c] += sum of the pieces. A block takes 32 columns, its 8 warps every eighth piece.
template <int K>
struct ColumnSums {
  float* out[K];
};
template <int K>
__global__ void __launch_bounds__(kThreads)
    column_finish_kernel(int64_t pieces, int64_t columns, const float* sums, const ColumnSums<K> to) {
  __shared__ float part[kThreads / kWarp][kWarp];
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, k = blockIdx.y;
  const int64_t c = int64_t{blockIdx.x} * kWarp + lane;
  float sum = 0;
  if (c < columns)
    for (int64_t p = warp; p < pieces; p += kThreads / kWarp) sum += sums[(p * K + k) * columns + c];
  part[warp][lane] = sum;
  __syncthreads();
  if (warp > 0 || c >= columns) return;
  float total = 0;
  for (int i = 0; i < kThreads / kWarp; ++i) total += part[i][lane];
  to.out[k][c] += total;
}

// Adds to to.out[k] [columns] each. f(row, column, sum) adds to sum[K]. Scratch from ctx's current scope.
template <int K, class F>
void add_column_sums(Context& ctx, int64_t rows, int64_t columns, const F& f, const ColumnSums<K>& to) {
  if (rows == 0 || columns == 0) return;
  // Enough pieces to fill a GPU, and not so many that to add them up takes as long.
  const int64_t piece = std::max<int64_t>(32, (rows + 255) / 256), pieces = (rows + piece - 1) / piece;
  float* sums = ctx.empty(DType::f32, {pieces, K, columns}).template data<float>();
  launch(ctx, {{blocks_for(columns, kThreads), static_cast<unsigned>(pieces)}}, column_pieces_kernel<K, F>, rows,
         columns, piece, f, sums);
  launch(ctx, {{blocks_for(columns, kWarp), K}}, column_finish_kernel<K>, pieces, columns, sums, to);
}

}  // namespace uvic::cuda
