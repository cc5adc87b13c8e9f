#include "kernels/cuda/attention_launch.cuh"
#include "kernels/cuda/attention_plain.h"

namespace uvic::cuda {
namespace {

// attention_delta_kernel: delta [B, H, L] = rowsum(dO . o), a warp a row.
__global__ void __launch_bounds__(kThreads) attention_delta_kernel(const __grid_constant__ AttentionTensors<bf16> t) {
  const int64_t row = (int64_t{blockIdx.x} * kThreads + threadIdx.x) / kWarp, n = row / t.size.L;
  if (n >= t.heads) return;
  const int64_t at = row % t.size.L * t.o_stride();
  float sum = 0;
  for (int64_t d = threadIdx.x % kWarp; d < t.size.D; d += kWarp)
    sum = __fmaf_rn(to_float(t.output_gradient(n).data[at + d]), to_float(t.output(n).data[at + d]), sum);
  sum = warp_sum(sum);
  if (threadIdx.x % kWarp == 0) t.delta[row] = sum;
}

__device__ BackwardHead backward_head(const AttentionTensors<bf16>& t, int64_t n) {
  return {t.part(n, 0),           t.part(n, 1),     t.part(n, 2),     t.output_gradient(n), t.stat + n * t.size.L,
          t.delta + n * t.size.L, t.gradient(n, 0), t.gradient(n, 1), t.gradient(n, 2)};
}

// attention_row_gradient_kernel<Score, kD>: one block makes kOwn rows of dq of one head; see attention_passes.h.
template <class Score, int kD>
__global__ void __launch_bounds__(kAttentionThreads)
    attention_row_gradient_kernel(const __grid_constant__ AttentionTensors<bf16> t) {
  const auto [n, first] = block_place(t.size.L);
  DeviceBlock block;
  row_gradient_block<Score, kD>(block, t.size, backward_head(t, n), first, reinterpret_cast<bf16*>(dynamic_shared));
}

// attention_key_gradient_kernel<Score, kD>: one block makes kOwn rows of dk and dv of one head.
template <class Score, int kD>
__global__ void __launch_bounds__(kAttentionThreads)
    attention_key_gradient_kernel(const __grid_constant__ AttentionTensors<bf16> t) {
  const auto [n, first] = block_place(t.size.L);
  DeviceBlock block;
  key_gradient_block<Score, kD>(block, t.size, backward_head(t, n), first, reinterpret_cast<bf16*>(dynamic_shared));
}

}  // namespace

void attention_backward(Context& ctx, const AttentionArgs& a, Tensor o, Tensor stat, Tensor grad_o, Tensor dqkv) {
  const auto scope = ctx.scope("attention_backward");
  if (a.qkv.dtype() == DType::f32) return plain_attention_backward(ctx, a, o, stat, grad_o, dqkv);
  AttentionTensors<bf16> t = tensors_of<bf16>(a, o, stat, grad_o, dqkv);
  t.delta = ctx.like(stat).data<float>();
  launch(ctx, {blocks_for(t.heads * t.size.L, kThreads / kWarp)}, attention_delta_kernel, t);
  with_score(a.kind, [&](auto score) {
    with_width(t.size.D, [&](auto width) {
      using Score = decltype(score);
      constexpr int kD = decltype(width)::value;
      constexpr size_t kShared = kBackwardShared<kD> * sizeof(bf16);
      launch_heads(ctx, attention_row_gradient_kernel<Score, kD>, t, kShared);
      launch_heads(ctx, attention_key_gradient_kernel<Score, kD>, t, kShared);
    });
  });
}

}  // namespace uvic::cuda
