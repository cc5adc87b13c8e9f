#pragma once

#include <vector>

#include "kernels/core/replay.h"
#include "kernels/ops/update.h"
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

// Takes a store's parameters from step to step. What steps hand to the sweep lies in memory of the device: the
// host only queues them.
class Optimizer {
 public:
  // store, on ctx's device, must outlive this.
  Optimizer(const Context& ctx, ParamStore& store);

  // Before any other work of a step (1-based): hands over its rates. Returns the learning rate.
  double begin(Context& ctx, const OptimizerConfig& config, int64_t step);
  // Skips this step's update, and those of later ones until go_on(), unless losses (flat f32) are finite. Only ops.
  void require_finite(Context& ctx, Tensor losses) { stop_unless_finite(ctx, losses, sweep_.tensor); }
  // Clips, then AdamW and EMA over every parameter; the working weights are those of master afterwards. A gradient
  // whose norm is not finite changes nothing, and nor do later steps until go_on(). On a GPU the launches are recorded
  // and replayed: but for begin()'s part, config must be the same each time.
  void update(Context& ctx, const OptimizerConfig& config);
  // The squared norm of the gradient that update() was called with last, [1] f64 on the device.
  Tensor squared_grad_norm() const { return square_.tensor; }

  // Ends what a number that is not finite began.
  void go_on(Context& ctx);
  // Throws Error if the gradient's norm is not finite; the message names the last parameter whose gradient is not:
  // backward comes to it before the others. Waits.
  void check_gradient(Context& ctx, int64_t step) const;

 private:
  ParamStore& store_;
  OwnedTensor sweep_, square_;
  Replay replay_;
};

}  // namespace uvic
