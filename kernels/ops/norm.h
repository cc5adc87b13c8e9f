#pragma once

#include "kernels/core/context.h"

namespace uvic {

// y = (x - mean) / sqrt(var + eps) * w + b over the last dimension (Ba et al., arXiv 1607.06450); var is the biased
// one. x, y [N, C], w, b [C], one dtype, f32 or bf16. Statistics and sums in f32.
struct LayerNormArgs {
  Tensor x, w, b;
  float eps = 1e-5f;
};
// Overwrites y. stats [N, 2] f32, if not empty, receives (mean, 1 / sqrt(var + eps)) for backward.
void layernorm_forward(Context& ctx, const LayerNormArgs& a, Tensor y, Tensor stats = {});
// ADDS to dx [N, C] (it is the residual stream's gradient), dw [C] f32 and db [C] f32. dy [N, C] is only read.
void layernorm_backward(Context& ctx, const LayerNormArgs& a, Tensor stats, Tensor dy, Tensor dx, Tensor dw, Tensor db);

}  // namespace uvic
