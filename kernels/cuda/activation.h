#pragma once

#include "kernels/core/context.h"
#include "kernels/ops/activation.h"

namespace uvic::cuda {

// y = act(x) + residual, elementwise; residual may be empty, and y may be x. One dtype, f32 or bf16.
void apply_activation(Context& ctx, Activation act, Tensor x, Tensor residual, Tensor y);

}  // namespace uvic::cuda
