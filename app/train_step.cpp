#include "app/train_step.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "kernels/ops/pointwise.h"
#include "kernels/ops/transfer.h"

namespace uvic {
namespace {

// What the network should say: eps, x0, or v = alpha eps - sigma x0 (Salimans & Ho, arXiv 2202.00512).
Tensor make_target(Context& ctx, const StepInputs& in, Prediction prediction) {
  if (prediction == Prediction::eps) return in.eps;
  if (prediction == Prediction::x0) return in.x0;
  const int64_t batch = in.x0.dim(0);
  Tensor v = ctx.like(in.x0), minus_sigma = ctx.like(in.sigma);
  const std::array<Term, 1> negate{{{-1.0, in.sigma}}};
  linear_combination(ctx, negate, minus_sigma);
  noising(ctx, in.eps.view({batch, in.eps.numel() / batch}), in.x0.view({batch, in.x0.numel() / batch}), in.alpha,
          minus_sigma, v.view({batch, v.numel() / batch}));
  return v;
}

// The loss weights of in's samples, so that their mean becomes their share of the step's mean.
Tensor shared_weight(Context& ctx, const StepInputs& in, double share) {
  if (share == 1) return in.weight;
  if (!in.weight) return upload(ctx, std::vector(static_cast<size_t>(in.alpha.numel()), static_cast<float>(share)));
  Tensor weight = ctx.like(in.alpha);
  linear_combination(ctx, std::array<Term, 1>{{{share, in.weight}}}, weight);
  return weight;
}

// Adds what loss [B] of mse says, all of it without weights but for the step's own.
void read_losses(Context& ctx, const StepInputs& in, Tensor loss, Tensor weight, StepResult& result) {
  const OwnedTensor losses = on_host(ctx, loss), times = on_host(ctx, in.t),
                    weights = weight ? on_host(ctx, weight) : OwnedTensor();
  const float *per_sample = losses.tensor.data<float>(), *t = times.tensor.data<float>(),
              *of_step = weight ? weights.tensor.data<float>() : nullptr;
  result.loss_per_sample.insert(result.loss_per_sample.end(), per_sample, per_sample + loss.numel());
  double sum = 0;
  for (int64_t b = 0; b < loss.numel(); ++b) {
    result.levels.add(t[b], per_sample[b]);
    sum += double{per_sample[b]} * (of_step ? double{of_step[b]} : 1.0);
  }
  result.loss += sum / static_cast<double>(loss.numel());
}

}  // namespace

void LevelLosses::add(float t, float loss) {
  const auto quarter = static_cast<size_t>(std::clamp(t * 0.004f, 0.0f, 3.0f));
  sum[quarter] += double{loss};
  samples[quarter] += 1;
}

StepResult train_step(Context& ctx, TrainedModel& model, const StepInputs& in, Prediction prediction,
                      const OptimizerConfig& optimizer, int64_t step) {
  StepResult result;
  zero(ctx, model.store.flat(Role::grad));
  add_gradients(ctx, model, in, prediction, 1, step, result);
  finish_step(ctx, model, optimizer, step, result);
  return result;
}

void add_gradients(Context& ctx, TrainedModel& model, const StepInputs& in, Prediction prediction, double share,
                   int64_t step, StepResult& result, const UViC::GradientsDone& done) {
  auto scope = ctx.scope("train");
  const Tensor x_t = ctx.like(in.x0), out = ctx.like(in.x0), dout = ctx.like(in.x0), loss = ctx.like(in.alpha);
  const Tensor weight = shared_weight(ctx, in, share);
  UViC::Saved saved{.recompute = model.recompute};
  const auto forward = [&] {
    noising(ctx, in.x0, in.eps, in.alpha, in.sigma, x_t);
    model.net.forward(ctx, x_t, in.t, in.conditions, out, &saved);
  };
  const auto both = [&] {
    const Arena::Mark begin = ctx.arena().mark();
    forward();
    mse(ctx, out, make_target(ctx, in, prediction), weight, loss, dout);
    model.net.backward(ctx, saved, dout, {}, {}, done);
    ctx.arena().rewind(begin);
  };
  if (done) {
    both();  // sums between processes go through the host
  } else {
    model.gradients.run(
        ctx,
        {in.x0, in.eps, in.alpha, in.sigma, in.t, in.conditions.y, in.conditions.context, x_t, out, dout, loss, weight},
        both, 2 * static_cast<int64_t>(prediction) + model.recompute);
  }

  read_losses(ctx, in, loss, weight, result);
  if (std::isfinite(result.loss)) return;
  forward();  // once more: backward has used up what was saved
  const std::string module = model.net.first_not_finite(ctx, x_t, saved, out);
  fail("step ", step, ": the loss is not finite; the first values that are not are ",
       module.empty() ? "the loss itself" : "those of " + module);
}

void finish_step(Context& ctx, TrainedModel& model, const OptimizerConfig& optimizer, int64_t step,
                 StepResult& result) {
  auto scope = ctx.scope("train");
  auto update_scope = ctx.scope("update");
  const UpdateInfo info = update(ctx, optimizer, step, model.store);
  result.lr = info.lr;
  result.grad_norm = info.grad_norm;
}

}  // namespace uvic
