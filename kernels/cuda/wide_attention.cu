#include "kernels/ops/wide_attention.h"

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/matmul.h"

namespace uvic::cuda {
namespace {

// Rows whose scores exist at a time: enough to fill a GPU; at L = 16384 (images of 1024 x 1024) they take 67 MB.
constexpr int64_t kBlock = 1024;

// The largest x of a block of kThreads, in every thread. All of them must call it.
__device__ float block_max(float x) {
  __shared__ float part[kThreads / kWarp];
  for (int step = kWarp / 2; step > 0; step /= 2) x = fmaxf(x, __shfl_xor_sync(~0u, x, step));
  if (threadIdx.x % kWarp == 0) part[threadIdx.x / kWarp] = x;
  __syncthreads();
  for (int i = 0; i < kThreads / kWarp; ++i) x = fmaxf(x, part[i]);
  return x;
}

// softmax_kernel: a block makes one row of weights [rows, L] of its scores, which may lie in the same place.
template <class T>
__global__ void __launch_bounds__(kThreads) softmax_kernel(const float* scores, int64_t L, float scale, T* weights) {
  scores += blockIdx.x * L;
  weights += blockIdx.x * L;
  float most = -INFINITY;
  for (int64_t j = threadIdx.x; j < L; j += kThreads) most = fmaxf(most, scores[j]);
  most = block_max(most) * scale;
  float sum = 0;
  for (int64_t j = threadIdx.x; j < L; j += kThreads) sum += expf(__fmaf_rn(scores[j], scale, -most));
  const float share = 1.0f / block_sum(sum);
  for (int64_t j = threadIdx.x; j < L; j += kThreads)
    weights[j] = from_float<T>(expf(__fmaf_rn(scores[j], scale, -most)) * share);
}

}  // namespace

void wide_attention(Context& ctx, const WideAttentionArgs& a, Tensor o) {
  const auto scope = ctx.scope("wide_attention");
  const int64_t L = a.q.dim(0);
  const Tensor scores = ctx.empty(DType::f32, {std::min(kBlock, L), L});
  const Tensor weights = a.q.dtype() == DType::bf16 ? ctx.empty(DType::bf16, scores.shape()) : scores;
  for (int64_t begin = 0; begin < L; begin += kBlock) {
    const int64_t rows = std::min(kBlock, L - begin);
    const Tensor s = scores.rows(0, rows), w = weights.rows(0, rows);
    product(ctx, {.a = matrix(a.q.rows(begin, begin + rows)), .b = matrix(a.k).transposed(), .c = matrix(s)});
    with_working(a.q.dtype(), [&](auto element) {
      using T = decltype(element);
      launch(ctx, {static_cast<unsigned>(rows)}, softmax_kernel<T>, s.data<float>(), L, a.scale, w.data<T>());
    });
    product(ctx, {.a = matrix(w), .b = matrix(a.v), .c = matrix(o.rows(begin, begin + rows))});
  }
}

}  // namespace uvic::cuda
