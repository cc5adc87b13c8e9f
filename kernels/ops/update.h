#pragma once

#include <span>

#include "kernels/core/context.h"
#include "kernels/ops/sweep.h"

namespace uvic {

// sum of squares of x (flat f32), in double, in an order that does not depend on the number of threads. Waits for it.
double squared_norm(Context& ctx, Tensor x);
// The same number into square [1] f64, on ctx's device. The host waits for nothing.
void squared_norm(Context& ctx, Tensor x, Tensor square);

// A running mean of weights: ema = rate ema + (1 - rate) param. ema is flat f32.
struct Average {
  Tensor ema;
  double rate = 0.9999;
};
constexpr size_t kMaxAverages = 4;

struct AdamWArgs {
  double lr = 1e-4, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  int64_t step = 1;  // 1-based, for the bias correction
};
// sweep's part of a: lr, weight_decay and step. A recording would do it with the same a for ever.
void set_rates(Context& ctx, const AdamWArgs& a, Tensor sweep);
// Stops sweeps if x (flat f32) is not finite everywhere.
void stop_unless_finite(Context& ctx, Tensor x, Tensor sweep);
// Sets sweep's grad_scale so that a gradient whose squared_norm is square [1] f64 has the norm max_norm, or less; 0:
// does not clip. Stops sweeps if square is not finite.
void clip(Context& ctx, Tensor square, double max_norm, Tensor sweep);

// AdamW (Loshchilov & Hutter, arXiv 1711.05101) with decoupled decay, as torch.optim.AdamW computes it in f32, then
// averages (kMaxAverages at most), then working = bf16(param): one pass over flat memory, by sweep, and by a's betas
// and eps. param, grad, m, v, every ema: flat f32, one length; working may be empty. Overwrites param, m, v, each ema
// and working, unless sweeps are stopped.
void adamw_ema(Context& ctx, const AdamWArgs& a, Tensor sweep, Tensor param, Tensor grad, Tensor m, Tensor v,
               std::span<const Average> averages, Tensor working);

}  // namespace uvic
