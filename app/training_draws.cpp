#include "app/training_draws.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "app/loaded_model.h"
#include "kernels/core/philox.h"
#include "kernels/ops/pointwise.h"
#include "kernels/ops/transfer.h"

namespace uvic {

TrainingDraws::TrainingDraws(const RunConfig& config, const Schedule& schedule, double scale, Tensor empty_context)
    : config_(config),
      schedule_(schedule),
      prediction_(prediction_of(config.diffusion.prediction)),
      scale_(scale),
      empty_context_(empty_context) {}

// Uniform, or the logistic function of a standard normal (Esser et al., arXiv 2403.03206, section 3.1).
double TrainingDraws::time(const Random4& random) const {
  const bool uniform = config_.diffusion.time_sampling == "uniform";
  const double u = uniform ? random.v[0] * 0x1p-32 : 1 / (1 + std::exp(-double{normal(random).v[0]}));
  const int knots = schedule_.knots();
  return knots == 0 ? u : std::floor(u * knots + 1) / knots;
}

// Min-SNR-gamma (Hang et al., arXiv 2303.09556): the weight on the x0 loss is min(snr, gamma), and an eps loss is snr
// times, a v loss snr + 1 times the x0 loss.
double TrainingDraws::loss_weight(const NoiseLevel& level) const {
  if (config_.diffusion.loss_weight == "none") return 1;
  const double inverse_snr = std::exp(-2 * level.lambda), gamma = config_.diffusion.gamma;
  switch (prediction_) {
    case Prediction::eps: return std::min(1.0, gamma * inverse_snr);
    case Prediction::x0: return std::min(1 / inverse_snr, gamma);
    case Prediction::v: return std::min(1.0, gamma * inverse_snr) / (1 + inverse_snr);
  }
  return 1;
}

// Pixels as they are; latents as means, or drawn from their posteriors with the keys' noise.
Tensor TrainingDraws::clean_images(Context& ctx, const Batch& batch, Rows rows, std::vector<RandomKey> keys) const {
  const UViCConfig& model = config_.model;
  const Tensor x0 = ctx.empty(DType::f32, {rows.count(), model.in_chans, model.img_size, model.img_size});
  if (!batch.latents.tensor) {
    pixels_to_image(ctx, on_device(ctx, batch.pixels.tensor.rows(rows.begin, rows.end)), x0);
    return x0;
  }
  const Tensor latents = on_device(ctx, batch.latents.tensor.rows(rows.begin, rows.end));
  if (latents.dim(1) == model.in_chans) {
    linear_combination(ctx, std::array<Term, 1>{{{scale_, latents}}}, x0);
    return x0;
  }
  auto scope = ctx.scope("posterior");
  for (RandomKey& key : keys) key.stream = Stream::latent_posterior;
  const Tensor noise = ctx.like(x0);
  random_normal(ctx, keys, noise.view({rows.count(), noise.numel() / rows.count()}));
  sample_posterior(ctx, latents, noise, scale_, x0);
  return x0;
}

Tensor TrainingDraws::texts(Context& ctx, const Batch& batch, Rows rows, std::span<const int64_t> dropped) const {
  const Tensor own = batch.context.tensor.rows(rows.begin, rows.end), all = ctx.like(own);
  upload(ctx, own, all);
  if (dropped.empty()) return all;
  const Tensor empty = on_device(ctx, empty_context_);
  for (const int64_t b : dropped) cast(ctx, empty, all.rows(b, b + 1).view(empty.shape()));
  return all;
}

StepInputs TrainingDraws::draw(Context& ctx, const Batch& batch, int64_t step, Rows rows) const {
  if (rows.count() == 0) rows = {0, static_cast<int64_t>(batch.labels.size())};
  const UViCConfig& model = config_.model;
  const int64_t count = rows.count();
  const uint64_t seed = config_.train.seed;
  std::vector<float> alpha, sigma, t, weight;
  std::vector<int32_t> labels;
  std::vector<int64_t> without_text;
  std::vector<RandomKey> noise_keys;
  for (int64_t b = 0; b < count; ++b) {
    RandomKey key{seed, static_cast<uint32_t>(step), Stream::training_time,
                  static_cast<uint32_t>(batch.first_sample + rows.begin + b)};
    const NoiseLevel level = schedule_.at(time(philox(key, 0)));
    alpha.push_back(static_cast<float>(level.alpha));
    sigma.push_back(static_cast<float>(level.sigma));
    t.push_back(static_cast<float>(level.label));
    weight.push_back(static_cast<float>(loss_weight(level)));
    key.stream = Stream::label_drop;
    const bool drop = uniform(philox(key, 0).v[0]) < static_cast<float>(config_.train.label_drop);
    if (model.num_classes > 0) {
      const int32_t label = batch.labels[static_cast<size_t>(rows.begin + b)];
      UVIC_CHECK(label >= 0 && label < model.real_classes(), "the data have an image of label ", label,
                 ", the model has ", model.real_classes(),
                 " classes");  // data without an index are not known before they are read
      labels.push_back(drop ? model.num_classes - 1 : label);
    }
    if (drop) without_text.push_back(b);
    key.stream = Stream::training_noise;
    noise_keys.push_back(key);
  }
  StepInputs in{.alpha = upload(ctx, alpha),
                .sigma = upload(ctx, sigma),
                .t = upload(ctx, t),
                .conditions = {.y = labels.empty() ? Tensor{} : upload(ctx, labels)},
                .weight = upload(ctx, weight)};
  if (batch.context.tensor) in.conditions.context = texts(ctx, batch, rows, without_text);
  in.x0 = clean_images(ctx, batch, rows, noise_keys);
  in.eps = ctx.like(in.x0);
  random_normal(ctx, noise_keys, in.eps.view({count, in.eps.numel() / count}));
  return in;
}

}  // namespace uvic
