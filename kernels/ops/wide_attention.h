#pragma once

#include "kernels/core/context.h"

namespace uvic {

// o = softmax(scale q k^T) v: attention of one head, of any width. q, k, v [L, D] share one dtype, f32 or bf16; scores
// and sums in f32. Forward only. Memory is linear in L: a block of rows has all its scores, never every row.
struct WideAttentionArgs {
  Tensor q, k, v;
  float scale = 0;  // 0: 1 / sqrt(D)
};
// Overwrites o [L, D] f32.
void wide_attention(Context& ctx, const WideAttentionArgs& a, Tensor o);

}  // namespace uvic
