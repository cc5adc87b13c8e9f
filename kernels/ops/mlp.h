#pragma once

#include "kernels/core/context.h"
#include "kernels/ops/activation.h"

namespace uvic {

// y = act(x w1^T + b1) w2^T + b2 + residual: a transformer's multilayer perceptron as one op, because its widest
// matrix, the result of act, need not exist as a whole. x [N, K], w1 [M, K], b1 [M], w2 [K, M], b2 [K], y and residual
// [N, K] (may be empty) share one dtype, f32 or bf16; N, K, M >= 1. Sums are taken in f32; act's result is rounded to
// the dtype.
struct MlpArgs {
  Tensor x, w1, b1, w2, b2, residual;
  Activation act = Activation::gelu;
  Tensor prepacked1, prepacked2;  // w1 and w2 by prepack_linear, or empty
};
// Overwrites y. pre [N, M], if not empty, receives x w1^T + b1: what backward needs.
void mlp_forward(Context& ctx, const MlpArgs& a, Tensor y, Tensor pre = {});

struct MlpBackwardArgs {
  Tensor x, w1, w2;  // as in MlpArgs
  Activation act = Activation::gelu;
  Tensor pre;  // [N, M] by mlp_forward; scratch afterwards
};
// Overwrites dx [N, K] and pre; adds to dw1 [M, K], db1 [M], dw2 [K, M] and db2 [K], all f32. dy [N, K] is only read:
// it is also the residual's gradient. dx may not alias dy or x.
void mlp_backward(Context& ctx, const MlpBackwardArgs& a, Tensor dy, Tensor dx, Tensor dw1, Tensor db1, Tensor dw2,
                  Tensor db2);

}  // namespace uvic
