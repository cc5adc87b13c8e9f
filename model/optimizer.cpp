#include "model/optimizer.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/ops/pointwise.h"

namespace uvic {

double learning_rate(const OptimizerConfig& config, int64_t step) {
  const double done = static_cast<double>(step - 1), warmup = static_cast<double>(config.warmup_steps);
  if (done < warmup) return config.lr * done / warmup;
  if (config.lr_schedule == LrSchedule::constant) return config.lr;
  const double rest = std::max(1.0, static_cast<double>(config.max_steps) - warmup);
  return config.lr * 0.5 * (1 + std::cos(std::numbers::pi * std::min(1.0, (done - warmup) / rest)));
}

namespace {

AdamWArgs args_of(const OptimizerConfig& c, int64_t step) {
  return {.lr = learning_rate(c, step),
          .beta1 = c.beta1,
          .beta2 = c.beta2,
          .eps = c.eps,
          .weight_decay = c.weight_decay,
          .step = step};
}

}  // namespace

Optimizer::Optimizer(const Context& ctx, ParamStore& store)
    : store_(store), sweep_(ctx.device(), DType::f32, {kSweepScalars}), square_(ctx.device(), DType::f64, {1}) {}

double Optimizer::begin(Context& ctx, const OptimizerConfig& config, int64_t step) {
  const AdamWArgs args = args_of(config, step);
  set_rates(ctx, args, sweep_.tensor);
  return args.lr;
}

void Optimizer::update(Context& ctx, const OptimizerConfig& config) {
  const Tensor grad = store_.flat(Role::grad);
  const bool separate = store_.dtype() != DType::f32;
  std::vector<Average> averages;
  for (size_t k = 0; k < config.ema_rates.size(); ++k)
    averages.push_back({store_.own(kEmaRoles.at(k)), config.ema_rates[k]});
  replay_.run(ctx, {grad, store_.flat(Role::working)}, [&] {
    squared_norm(ctx, grad, square_.tensor);
    clip(ctx, square_.tensor, config.grad_clip, sweep_.tensor);
    adamw_ema(ctx, args_of(config, 1), sweep_.tensor, store_.own(Role::master), store_.own(Role::grad),
              store_.own(Role::m), store_.own(Role::v), averages, separate ? store_.own(Role::working) : Tensor{});
  });
  store_.gather();
}

void Optimizer::go_on(Context& ctx) { zero(ctx, sweep_.tensor); }

void Optimizer::check_gradient(Context& ctx, int64_t step) const {
  if (std::isfinite(squared_norm(ctx, store_.flat(Role::grad)))) return;
  for (size_t id = store_.params().size(); id-- > 0;) {
    const Tensor g = store_.grad(static_cast<int>(id));
    UVIC_CHECK(std::isfinite(squared_norm(ctx, g.view({g.numel()}))), "step ", step, ": the gradient of ",
               store_.params()[id].name, " is not finite");
  }
  fail("step ", step, ": the gradient's norm is not finite");  // each is, their sum overflows
}

}  // namespace uvic
