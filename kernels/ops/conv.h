#pragma once

#include "kernels/core/context.h"

namespace uvic {

// y = conv(x, w) + b, stride 1, zero padding k/2 on each side. x [B, C, h, w], w [M, C, k, k] (k odd) and b [M] share
// one dtype, f32 or bf16; y [B, M, h, w] is f32 (the network's output leaves in full precision). Sums in f32.
struct Conv2dArgs {
  Tensor x, w, b;
};
void conv2d_forward(Context& ctx, const Conv2dArgs& a, Tensor y);
// dy [B, M, h, w] f32. Overwrites dx (dtype of x; skipped if empty), adds to dw [M, C, k, k] f32 and db [M] f32.
void conv2d_backward(Context& ctx, const Conv2dArgs& a, Tensor dy, Tensor dx, Tensor dw, Tensor db);

}  // namespace uvic
