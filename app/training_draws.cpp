#include "app/training_draws.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

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
Tensor TrainingDraws::clean_images(Context& ctx, const StepMaterial& material, Rows rows,
                                   std::vector<RandomKey> keys) const {
  const UViCConfig& model = config_.model;
  const Tensor x0 = ctx.empty(DType::f32, {rows.count(), model.in_chans, model.img_size, model.img_size});
  if (!material.latents) {
    pixels_to_image(ctx, material.pixels.rows(rows.begin, rows.end), x0);
    return x0;
  }
  const Tensor latents = material.latents.rows(rows.begin, rows.end);
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

StepMaterial TrainingDraws::bring(Feed& feed, const Batch& batch, int64_t step) const {
  const UViCConfig& model = config_.model;
  const auto count = static_cast<int64_t>(batch.labels.size());
  StepMaterial m{.host_numbers = OwnedTensor(feed.host(), DType::f32, {4, count})};
  if (model.num_classes > 0) m.host_labels = OwnedTensor(feed.host(), DType::i32, {count});
  float* const numbers = m.host_numbers.tensor.data<float>();
  for (int64_t b = 0; b < count; ++b) {
    RandomKey key{config_.train.seed, static_cast<uint32_t>(step), Stream::training_time,
                  static_cast<uint32_t>(batch.first_sample + b)};
    const NoiseLevel level = schedule_.at(time(philox(key, 0)));
    const double drawn[] = {level.alpha, level.sigma, level.label, loss_weight(level)};
    for (int64_t k = 0; k < 4; ++k) numbers[k * count + b] = static_cast<float>(drawn[k]);
    key.stream = Stream::label_drop;
    m.dropped.push_back(uniform(philox(key, 0).v[0]) < static_cast<float>(config_.train.label_drop));
    if (model.num_classes > 0) {
      const int32_t label = batch.labels[static_cast<size_t>(b)];
      UVIC_CHECK(label >= 0 && label < model.real_classes(), "the data have an image of label ", label,
                 ", the model has ", model.real_classes(),
                 " classes");  // data without an index are not known before they are read
      m.host_labels.tensor.data<int32_t>()[b] = m.dropped.back() ? model.num_classes - 1 : label;
    }
    key.stream = Stream::training_noise;
    m.noise.push_back(key);
  }
  feed.turn();
  const Tensor all = feed.take(m.host_numbers.tensor);
  const auto row = [&](int64_t k) { return all.rows(k, k + 1).view({count}); };
  m.alpha = row(0), m.sigma = row(1), m.t = row(2), m.weight = row(3);
  m.labels = feed.take(m.host_labels.tensor);
  m.pixels = feed.take(batch.pixels.tensor);
  m.latents = feed.take(batch.latents.tensor);
  m.context = feed.take(batch.context.tensor);
  if (m.context && std::find(m.dropped.begin(), m.dropped.end(), true) != m.dropped.end()) {
    m.host_empty_context = OwnedTensor(feed.host(), DType::f32, empty_context_.shape());
    std::memcpy(m.host_empty_context.tensor.raw(), empty_context_.raw(), empty_context_.bytes());
    m.empty_context = feed.take(m.host_empty_context.tensor);
  }
  feed.join();
  return m;
}

StepInputs TrainingDraws::draw(Context& ctx, const StepMaterial& m, Rows rows) const {
  if (rows.count() == 0) rows = {0, m.alpha.numel()};
  // Copies, at the same place for every load of the feed: a recording of a step knows one place (core/replay.h).
  const auto own = [&](Tensor all) {
    if (!all) return all;
    const Tensor part = all.rows(rows.begin, rows.end), to = ctx.like(part);
    upload(ctx, part, to);
    return to;
  };
  StepInputs in{.alpha = own(m.alpha),
                .sigma = own(m.sigma),
                .t = own(m.t),
                .conditions = {.y = own(m.labels), .context = own(m.context)},
                .weight = own(m.weight)};
  if (const Tensor texts = in.conditions.context)
    for (int64_t b = 0; b < rows.count(); ++b)
      if (m.dropped[static_cast<size_t>(rows.begin + b)])
        cast(ctx, m.empty_context, texts.rows(b, b + 1).view(m.empty_context.shape()));
  const std::vector<RandomKey> keys(m.noise.begin() + rows.begin, m.noise.begin() + rows.end);
  in.x0 = clean_images(ctx, m, rows, keys);
  in.eps = ctx.like(in.x0);
  random_normal(ctx, keys, in.eps.view({rows.count(), in.eps.numel() / rows.count()}));
  return in;
}

}  // namespace uvic
