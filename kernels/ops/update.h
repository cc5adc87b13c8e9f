#pragma once

#include <span>

#include "kernels/core/context.h"

namespace uvic {

// sum of squares of x (flat f32), in double, in an order that does not depend on the number of threads.
double squared_norm(Context& ctx, Tensor x);

// A running mean of weights: ema = rate ema + (1 - rate) param. ema is flat f32.
struct Average {
  Tensor ema;
  double rate = 0.9999;
};
constexpr size_t kMaxAverages = 4;

// AdamW (Loshchilov & Hutter, arXiv 1711.05101) with decoupled decay, as torch.optim.AdamW computes it in f32, then
// averages (kMaxAverages at most), then working = bf16(param): one sweep over flat memory.
// param, grad, m, v, every ema: flat f32, one length; working may be empty. Overwrites param, m, v, each ema and
// working.
struct AdamWArgs {
  double lr = 1e-4, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  int64_t step = 1;       // 1-based, for the bias correction
  double grad_scale = 1;  // multiplies the gradient first: clipping
};
void adamw_ema(Context& ctx, const AdamWArgs& a, Tensor param, Tensor grad, Tensor m, Tensor v,
               std::span<const Average> averages, Tensor working);

}  // namespace uvic
