#pragma once

#include <array>

#include "kernels/core/replay.h"
#include "model/optimizer.h"
#include "model/uvic.h"
#include "sampler/denoiser.h"

namespace uvic {

// One step's material, each [B, ...] on the Context's device. How it was drawn is the caller's business.
struct StepInputs {
  Tensor x0;            // [B, C, h, w] f32, clean images in [-1, 1]
  Tensor eps;           // the noise, like x0
  Tensor alpha, sigma;  // [B] f32: x_t = alpha x0 + sigma eps
  Tensor t;             // [B] f32, the time value the network gets
  Conditions conditions;
  Tensor weight;  // [B] f32 loss weights, or empty for 1
};

// Losses without weights, summed by quarter of the noise levels: of the training time t in [0, 1), so that nearly clean
// images come first and nearly all noise last.
struct LevelLosses {
  std::array<double, 4> sum{}, samples{};

  // t: the network's time label, in [0, 999] or 1 ... 1000.
  void add(float t, float loss);
};

struct StepResult {
  double loss = 0;  // mean over the batch of weight * mean over elements of (target - prediction)^2, before the update
  double lr = 0, grad_norm = 0;
  std::vector<float> loss_per_sample;  // without weights
  LevelLosses levels;                  // the same
};

// Everything that is trained: the network over its parameters.
class TrainedModel {
 public:
  // Allocates every role in dtype's working precision, with so many averages, and the released initialisation; with
  // init_score > 0, attention starts as start_scores_at says. parts: as ParamStore takes it.
  TrainedModel(Context& ctx, const UViCConfig& config, DType dtype, uint64_t seed, double init_score = 0,
               size_t averages = 1, StoreParts* parts = nullptr)
      : store(ctx.device()), net(store, config) {
    store.allocate_for_training(dtype, averages, parts);
    store.initialise(ctx, seed);
    if (init_score > 0) start_scores_at(ctx, store, config, init_score);
  }
  ParamStore store;
  UViC net;
  bool recompute = false;  // UViC::Saved's
  Replay gradients;        // what add_gradients() launches
};

// One training step in the order of the released code: zero gradients, loss, backward of the batch mean, AdamW, EMA.
// step is 1-based. Throws Error, with weights and moments untouched, if the loss or the gradient is not finite; it
// names the module, or the parameter, where that began.
StepResult train_step(Context& ctx, TrainedModel& model, const StepInputs& in, Prediction prediction,
                      const OptimizerConfig& optimizer, int64_t step);

// The same for a step whose samples do not come all at once: zero the gradients, then add_gradients() for each part,
// then finish_step().

// in holds share of the step's samples (all shares: 1). Adds what they give to the gradients and to result's losses;
// done: see UViC::backward. On a GPU, without done, the launches are recorded and replayed.
void add_gradients(Context& ctx, TrainedModel& model, const StepInputs& in, Prediction prediction, double share,
                   int64_t step, StepResult& result, const UViC::GradientsDone& done = {});
void finish_step(Context& ctx, TrainedModel& model, const OptimizerConfig& optimizer, int64_t step, StepResult& result);

}  // namespace uvic
