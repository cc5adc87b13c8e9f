#include "kernels/ops/mlp.h"

#include "kernels/cuda/activation.h"
#include "kernels/ops/linear.h"

namespace uvic::cuda {

void mlp_forward(Context& ctx, const MlpArgs& a, Tensor y, Tensor pre) {
  const auto scope = ctx.scope("mlp");
  const Tensor hidden = ctx.empty(a.x.dtype(), {a.x.dim(0), a.w1.dim(0)});
  uvic::linear_forward(ctx, {.x = a.x, .w = a.w1, .b = a.b1, .residual = {}, .act = a.act}, hidden, pre);
  uvic::linear_forward(ctx, {.x = hidden, .w = a.w2, .b = a.b2, .residual = a.residual}, y);
}

void mlp_backward(Context& ctx, const MlpBackwardArgs& a, Tensor dy, Tensor dx, Tensor dw1, Tensor db1, Tensor dw2,
                  Tensor db2) {
  const auto scope = ctx.scope("mlp");
  const Tensor dpre = ctx.like(a.pre);
  uvic::linear_backward(ctx, {.x = {}, .w = a.w2, .x_act = a.act, .x_pre = a.pre}, dy, dpre, {}, {});
  apply_activation(ctx, a.act, a.pre, {}, a.pre);
  uvic::linear_backward(ctx, {.x = a.pre, .w = a.w2}, dy, {}, dw2, db2);
  uvic::linear_backward(ctx, {.x = a.x, .w = a.w1}, dpre, dx, dw1, db1);
}

}  // namespace uvic::cuda
