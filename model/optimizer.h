#pragma once

#include <vector>

#include "model/params.h"

namespace uvic {

enum class LrSchedule : uint8_t { constant, cosine };

struct OptimizerConfig {
  double lr = 2e-4, beta1 = 0.99, beta2 = 0.999, eps = 1e-8;
  double weight_decay = 0.03;  // on every parameter: the released runs use one group
  int64_t warmup_steps = 2500;
  LrSchedule lr_schedule = LrSchedule::constant;
  int64_t max_steps = 0;                  // where cosine reaches zero
  double grad_clip = 0;                   // largest global gradient norm; 0: off
  std::vector<double> ema_rates{0.9999};  // of kEmaRoles, as many as the store has
};

// Learning rate of step k (1-based), as the released LambdaLR gives it: lr min((k - 1) / warmup, 1), so that step 1
// changes nothing but the moments; with cosine, times (1 + cos(pi progress)) / 2 of what follows the warm-up.
double learning_rate(const OptimizerConfig& config, int64_t step);

// What one step did, for the log.
struct UpdateInfo {
  double lr = 0, grad_norm = 0;
};

// Clips, then AdamW and EMA over every parameter; step is 1-based. The working weights are those of master afterwards.
// Throws Error, having changed nothing, if the gradient's norm is not finite; the message names the last parameter
// whose gradient is not: backward comes to it before the others.
UpdateInfo update(Context& ctx, const OptimizerConfig& config, int64_t step, ParamStore& store);

}  // namespace uvic
