#pragma once

#include "kernels/core/context.h"
#include "kernels/ops/activation.h"

namespace uvic {

// y = act(x w^T + b) + residual, in one call, so that each backend may fuse it its own way.
// x [N, K], w [M, K], y [N, M], b [M] (may be empty), residual [N, M] (may be empty) share one dtype, f32 or bf16.
// N, K, M >= 1. Sums are taken in f32 and rounded once.
struct LinearArgs {
  Tensor x, w, b, residual;
  Activation act = Activation::none;
  Tensor prepacked;  // w by prepack_linear, or empty
};
// Overwrites y. pre [N, M], if not empty, receives x w^T + b: what backward needs of act.
void linear_forward(Context& ctx, const LinearArgs& a, Tensor y, Tensor pre = {});

// dy [N, M] is the gradient of x w^T + b, so act has been dealt with by who made dy: the layer that has act's result as
// its x, and which multiplies by the derivative while dx is still in registers.
struct LinearBackwardArgs {
  Tensor x, w;                          // as in LinearArgs; x may be empty if dw is and x_pre is not
  Activation x_act = Activation::none;  // x = x_act(x_pre)
  Tensor x_pre;                         // [N, K]; empty if x_act is none
};
// Overwrites dx [N, K] with the gradient of x_pre, which without x_act is x; adds to dw [M, K] f32 and db [M] f32. Each
// is skipped if empty. dy is only read: it is also the residual's gradient. dx may not alias dy or x_pre.
void linear_backward(Context& ctx, const LinearBackwardArgs& a, Tensor dy, Tensor dx, Tensor dw, Tensor db);

// w [M, K] once more, in the order in which the backend reads it, for weights that stay as they are: linear_forward
// then need not bring them there at every call. Empty if the backend has no such order. It must not outlive a change of
// w.
OwnedTensor prepack_linear(Context& ctx, Tensor w);

// y = [x ; skip] w^T + b without ever making the concatenation: U-ViT's long skip.
// x, skip [N, K], w [M, 2K] with x's columns first, b [M], y [N, M], one dtype.
struct SkipLinearArgs {
  Tensor x, skip, w, b;
  Tensor prepacked;  // w by prepack_skip_linear, or empty
};
void skip_linear_forward(Context& ctx, const SkipLinearArgs& a, Tensor y);
// Overwrites dx and dskip [N, K], adds to dw [M, 2K] f32 and db [M] f32. dx and dskip may not alias dy.
void skip_linear_backward(Context& ctx, const SkipLinearArgs& a, Tensor dy, Tensor dx, Tensor dskip, Tensor dw,
                          Tensor db);
OwnedTensor prepack_skip_linear(Context& ctx, Tensor w);  // as prepack_linear, w [M, 2K]

}  // namespace uvic
