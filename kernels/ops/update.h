#pragma once

#include "kernels/core/context.h"

namespace uvic {

// sum of squares of x (flat f32), in double, in an order that does not depend on the number of threads.
double squared_norm(Context& ctx, Tensor x);

// AdamW (Loshchilov & Hutter, arXiv 1711.05101) with decoupled decay, as torch.optim.AdamW computes it in f32, then
//   ema = ema_rate ema + (1 - ema_rate) param, then working = bf16(param): one sweep over flat memory.
// param, grad, m, v, ema: flat f32, one length; ema and working may be empty. Overwrites param, m, v, ema and working.
struct AdamWArgs {
  double lr = 1e-4, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  int64_t step = 1;       // 1-based, for the bias correction
  double grad_scale = 1;  // multiplies the gradient first: clipping, accumulation
  double ema_rate = 0.9999;
};
void adamw_ema(Context& ctx, const AdamWArgs& a, Tensor param, Tensor grad, Tensor m, Tensor v, Tensor ema,
               Tensor working);

}  // namespace uvic
