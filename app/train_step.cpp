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

// What a part of a step computes with.
struct Work {
  Tensor x_t, out, dout, loss;
  Work(Context& ctx, const StepInputs& in)
      : x_t(ctx.like(in.x0)), out(ctx.like(in.x0)), dout(ctx.like(in.x0)), loss(ctx.like(in.alpha)) {}
  void forward(Context& ctx, const UViC& net, const StepInputs& in, UViC::Saved& saved) const {
    noising(ctx, in.x0, in.eps, in.alpha, in.sigma, x_t);
    net.forward(ctx, x_t, in.t, in.conditions, out, &saved);
  }
};

// On the host: of loss [B], times weight [B] if there is one.
double mean_loss(Tensor loss, Tensor weight) {
  double sum = 0;
  for (int64_t b = 0; b < loss.numel(); ++b)
    sum += double{loss.data<float>()[b]} * (weight ? double{weight.data<float>()[b]} : 1.0);
  return sum / static_cast<double>(loss.numel());
}

// Throws Error if the loss is not finite: in which module that began.
void look_at_loss(Context& ctx, TrainedModel& model, const Work& work, Tensor weight, const UViC::Saved& saved,
                  int64_t step) {
  const OwnedTensor loss = on_host(ctx, work.loss), weights = weight ? on_host(ctx, weight) : OwnedTensor();
  if (std::isfinite(mean_loss(loss.tensor, weights.tensor))) return;
  const std::string module = model.net.first_not_finite(ctx, work.x_t, saved, work.out);
  model.optimizer.go_on(ctx);
  fail("step ", step, ": the loss is not finite; the first values that are not are ",
       module.empty() ? "the loss itself" : "those of " + module);
}

}  // namespace

void LevelLosses::add(float t, float loss) {
  const auto quarter = static_cast<size_t>(std::clamp(t * 0.004f, 0.0f, 3.0f));
  sum[quarter] += double{loss};
  samples[quarter] += 1;
}

StepResult train_step(Context& ctx, TrainedModel& model, const StepInputs& in, Prediction prediction,
                      const OptimizerConfig& optimizer, int64_t step) {
  const Arena::Mark begin = ctx.arena().mark();
  for (const auto mode : {PendingStep::Mode::queued, PendingStep::Mode::careful}) {
    ctx.arena().rewind(begin);
    PendingStep pending(ctx, model, optimizer, step, in.alpha.numel(), mode);
    pending.add(in, prediction, 1);
    pending.finish();
    if (const auto result = pending.read()) return *result;
  }
  return {};  // the careful one has thrown
}

// Bytes for a norm and, of each sample, its loss, time and weight; up to 8 of each tensor for alignment.
PendingStep::PendingStep(Context& ctx, TrainedModel& model, const OptimizerConfig& optimizer, int64_t step,
                         int64_t samples, Mode mode)
    : ctx_(ctx),
      model_(model),
      optimizer_(optimizer),
      step_(step),
      mode_(mode),
      lr_(model.optimizer.begin(ctx, optimizer, step)),
      numbers_(ctx, sizeof(double) + static_cast<size_t>(samples) * 3 * sizeof(double)) {}

void PendingStep::add(const StepInputs& in, Prediction prediction, double share, const GradientUse& use) {
  auto scope = ctx_.scope("train");
  const bool first = parts_.empty();
  const Tensor weight = shared_weight(ctx_, in, share);
  const Work work(ctx_, in);
  const auto gradients = [&] {
    const Arena::Mark begin = ctx_.arena().mark();
    if (first) zero(ctx_, model_.store.flat(Role::grad));
    UViC::Saved saved{.recompute = model_.recompute};
    work.forward(ctx_, model_.net, in, saved);
    mse(ctx_, work.out, make_target(ctx_, in, prediction), weight, work.loss, work.dout);
    if (mode_ == Mode::careful) look_at_loss(ctx_, model_, work, weight, saved, step_);
    model_.optimizer.require_finite(ctx_, work.loss);
    model_.net.backward(ctx_, saved, work.dout, {}, {}, use.done);
    if (use.finish) use.finish();
    ctx_.arena().rewind(begin);
  };
  if ((use.done && !use.only_queues) || mode_ == Mode::careful) {
    gradients();
  } else {
    const int64_t variant = (2 * static_cast<int64_t>(prediction) + model_.recompute) * 4 + 2 * first + !!use.done;
    model_.gradients.run(ctx_,
                         {in.x0, in.eps, in.alpha, in.sigma, in.t, in.conditions.y, in.conditions.context, work.x_t,
                          work.out, work.dout, work.loss, weight},
                         gradients, variant);
  }
  parts_.push_back({numbers_.add(work.loss), numbers_.add(in.t), weight ? numbers_.add(weight) : Tensor{}});
}

void PendingStep::finish() {
  auto scope = ctx_.scope("train");
  auto update_scope = ctx_.scope("update");
  if (mode_ == Mode::careful) {
    model_.optimizer.go_on(ctx_);
    model_.optimizer.check_gradient(ctx_, step_);
    throw Error(concat("step ", step_, ": the loss or its gradient was not finite, but is when computed again"),
                "the same numbers must give the same: the machine's memory may be faulty");
  }
  model_.optimizer.update(ctx_, optimizer_);
  square_ = numbers_.add(model_.optimizer.squared_grad_norm());
}

std::optional<StepResult> PendingStep::read() {
  numbers_.wait();
  StepResult result{.lr = lr_, .grad_norm = std::sqrt(*square_.data<double>())};
  for (const Part& part : parts_) {
    const float *loss = part.loss.data<float>(), *t = part.t.data<float>();
    result.loss_per_sample.insert(result.loss_per_sample.end(), loss, loss + part.loss.numel());
    for (int64_t b = 0; b < part.loss.numel(); ++b) result.levels.add(t[b], loss[b]);
    result.loss += mean_loss(part.loss, part.weight);
  }
  if (std::isfinite(result.loss) && std::isfinite(result.grad_norm)) return result;
  return std::nullopt;
}

}  // namespace uvic
