#pragma once

#include "kernels/core/context.h"
#include "kernels/ops/attention_score.h"

namespace uvic {

// o_i = sum_j w_ij v_j with z = scale q k^T and, per kind (attention_score.h):
//   softmax     w = softmax_j(z)
//   cog         w = sign(z) softmax_j(|z|), sign(0) = 0                        (arXiv 2411.07176)
//   expressive  w = f(z) / sum_j f(z), f(z) = z^2 / (1 + z^2); 0 where the sum is 0   (arXiv 2407.18601)
// No [L, L] matrix is ever made: memory is linear in L.
// qkv [B, L, 3, H, D], f32 or bf16; scores, weights' sums and statistics in f32. 1 <= D <= 128.
struct AttentionArgs {
  Tensor qkv;
  AttentionKind kind = AttentionKind::softmax;
  float scale = 0;      // 0: the kind's own, 1/sqrt(D), or 1 for expressive; never negative
  bool causal = false;  // key j takes part in row i only where j <= i
};
// Overwrites o [B, L, H, D], dtype of qkv. stat [B, H, L] f32, if not empty, receives for backward, per row:
// log sum_j exp(magnitude) for softmax and cog, sum_j f for expressive.
void attention_forward(Context& ctx, const AttentionArgs& a, Tensor o, Tensor stat = {});
// Overwrites dqkv [B, L, 3, H, D]. grad_o [B, L, H, D]; o and stat as forward left them. Derivatives: d sign / dz = 0.
void attention_backward(Context& ctx, const AttentionArgs& a, Tensor o, Tensor stat, Tensor grad_o, Tensor dqkv);

}  // namespace uvic
