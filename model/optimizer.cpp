#include "model/optimizer.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/ops/update.h"

namespace uvic {

double learning_rate(const OptimizerConfig& config, int64_t step) {
  const double done = static_cast<double>(step - 1), warmup = static_cast<double>(config.warmup_steps);
  if (done < warmup) return config.lr * done / warmup;
  if (config.lr_schedule == LrSchedule::constant) return config.lr;
  const double rest = std::max(1.0, static_cast<double>(config.max_steps) - warmup);
  return config.lr * 0.5 * (1 + std::cos(std::numbers::pi * std::min(1.0, (done - warmup) / rest)));
}

UpdateInfo update(Context& ctx, const OptimizerConfig& config, int64_t step, ParamStore& store) {
  const double norm = std::sqrt(squared_norm(ctx, store.flat(Role::grad)));
  if (!std::isfinite(norm)) {
    for (size_t id = store.params().size(); id-- > 0;) {
      const Tensor g = store.grad(static_cast<int>(id));
      UVIC_CHECK(std::isfinite(squared_norm(ctx, g.view({g.numel()}))), "step ", step, ": the gradient of ",
                 store.params()[id].name, " is not finite");
    }
    fail("step ", step, ": the gradient's norm is not finite");  // each is, their sum overflows
  }
  AdamWArgs a{.lr = learning_rate(config, step),
              .beta1 = config.beta1,
              .beta2 = config.beta2,
              .eps = config.eps,
              .weight_decay = config.weight_decay,
              .step = step};
  if (config.grad_clip > 0 && norm > config.grad_clip) a.grad_scale = config.grad_clip / norm;
  std::vector<Average> averages;
  for (size_t k = 0; k < config.ema_rates.size(); ++k)
    averages.push_back({store.own(kEmaRoles.at(k)), config.ema_rates[k]});
  const bool separate = store.dtype() != DType::f32;
  adamw_ema(ctx, a, store.own(Role::master), store.own(Role::grad), store.own(Role::m), store.own(Role::v), averages,
            separate ? store.own(Role::working) : Tensor{});
  store.gather();
  return {a.lr, norm};
}

}  // namespace uvic
