#include "kernels/cuda/attention_launch.cuh"
#include "kernels/cuda/attention_plain.h"

namespace uvic::cuda {
namespace {

// attention_forward_kernel<Score, kD>: one block makes kOwn rows of o of one head; see attention_passes.h.
template <class Score, int kD>
__global__ void __launch_bounds__(kAttentionThreads)
    attention_forward_kernel(const __grid_constant__ AttentionTensors<bf16> t) {
  const auto [n, first] = block_place(t.size.L);
  DeviceBlock block;
  forward_block<Score, kD>(
      block, t.size, {t.part(n, 0), t.part(n, 1), t.part(n, 2), t.output(n), t.stat ? t.stat + n * t.size.L : nullptr},
      first, reinterpret_cast<bf16*>(dynamic_shared));
}

}  // namespace

void attention_forward(Context& ctx, const AttentionArgs& a, Tensor o, Tensor stat) {
  if (a.qkv.dtype() == DType::f32) return plain_attention_forward(ctx, a, o, stat);
  const AttentionTensors<bf16> t = tensors_of<bf16>(a, o, stat);
  with_score(a.kind, [&](auto score) {
    with_width(t.size.D, [&](auto width) {
      constexpr int kD = decltype(width)::value;
      launch_heads(ctx, attention_forward_kernel<decltype(score), kD>, t, kForwardShared<kD> * sizeof(bf16));
    });
  });
}

}  // namespace uvic::cuda
