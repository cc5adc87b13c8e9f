#include "app/image_maker.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "app/cache_folder.h"
#include "app/in_scope.h"

namespace uvic {
namespace {

Shape shape_of_all(const UViCConfig& c, const SampleRequest& r) {
  return {static_cast<int64_t>(r.seeds.size()), c.in_chans, c.img_size, c.img_size};
}

std::optional<LatentImages> latents_of(const LoadedModel& model, const SampleRequest& r, bool wanted) {
  if (!makes_latents(model.info)) {
    UVIC_CHECK(r.latents.autoencoder.empty(), "--autoencoder: ", model.path.string(), " makes images, not latents");
    return std::nullopt;
  }
  if (!wanted && r.init_image.empty()) return std::nullopt;
  return std::make_optional<LatentImages>(model.info, model.path, model.store->dtype(), r.latents);
}

}  // namespace

ImageMaker::ImageMaker(const SampleRequest& request, bool decodes)
    : r_(request),
      ctx_({.device = device_of_name(r_.device, r_.world), .threads = r_.threads, .timed_plans = timed_plans()}),
      model_(load_model(ctx_, r_.model, dtype_of_name(r_.dtype, ctx_.device()))),
      latents_(latents_of(model_, r_, decodes)),
      schedule_(schedule_of(model_.info.schedule)),
      options_(r_.generator),
      labels_(choose_labels(model_.info, r_)),
      other_label_(other_label(model_.info, r_)),
      negative_label_(negative_label(model_.info, r_)),
      context_(ctx_, r_, model_.info),
      start_from_(r_, shape_of_all(model_.info.config, r_), latents_ ? &*latents_ : nullptr) {
  options_.sampler.prediction = prediction_of(model_.info.prediction);
  if (!r_.guide_model.empty()) {
    guide_ = load_model(ctx_, r_.guide_model, model_.store->dtype());
    UVIC_CHECK(guide_->info.schedule == model_.info.schedule && guide_->info.prediction == model_.info.prediction,
               r_.guide_model.string(), ": predicts ", guide_->info.prediction, " on schedule ", guide_->info.schedule,
               ", the model ", model_.info.prediction, " on ", model_.info.schedule);
    options_.guide = guide_->net.get();
  }
  if (!r_.init_image.empty()) {
    const double strength = r_.strength > 0 ? r_.strength : r_.mask.empty() ? 0.8 : 1;
    options_.sampler.t_start = strength * schedule_.t_start();
  }
  generator_.emplace(*model_.net, schedule_, options_);
}

std::string ImageMaker::parameters(size_t image) const {
  const SamplerOptions& o = options_.sampler;
  const Guidance& g = options_.guidance;
  nlohmann::ordered_json j{{"model", model_.path.filename().string()},
                           {"step", model_.info.step},
                           {"seed", r_.seeds[image]},
                           {"sampler", o.solver},
                           {"steps", o.steps},
                           {"order", o.order},
                           {"method", o.method},
                           {"clip", o.x0.clip},
                           {"dynamic_threshold", o.x0.threshold_ratio},
                           {"spacing", o.spacing},
                           {"eta", o.eta},
                           {"cfg_scale", g.scale},
                           {"dtype", name_of(model_.store->dtype())}};
  if (o.churn.amount > 0) j["churn"] = {o.churn.amount, o.churn.sigma_min, o.churn.sigma_max, o.churn.noise};
  const SamplerOptions usual;
  if (o.variance != usual.variance) j["variance"] = o.variance;
  if (o.final_sigma != usual.final_sigma) j["final_sigma"] = o.final_sigma;
  if (o.steps_offset != usual.steps_offset) j["steps_offset"] = o.steps_offset;
  for (const auto& [name, on] : {std::pair("bh1", o.bh1), {"taylor", o.taylor}, {"denoise", o.denoise}})
    if (on) j[name] = true;
  if (g.rescale > 0) j["cfg_rescale"] = g.rescale;
  if (g.sigma_min > 0 || std::isfinite(g.sigma_max)) j["cfg_interval"] = {g.sigma_min, g.sigma_max};
  if (negative_label_ >= 0) j["negative_class"] = negative_label_;
  if (!r_.negative_context.empty()) j["negative_context"] = r_.negative_context.filename().string();
  if (guide_) j["guide_model"] = guide_->path.filename().string();
  if (!r_.init_image.empty()) {
    j["init_image"] = r_.init_image.filename().string();
    j["start"] = o.t_start;
    if (!r_.mask.empty()) j["mask"] = r_.mask.filename().string();
  }
  if (latents_) {
    j["autoencoder"] = latents_->path().filename().string();
    j["scale_factor"] = latents_->scale();
  }
  if (!labels_.empty()) {
    const auto label = static_cast<size_t>(labels_[image]);
    if (label < model_.info.class_names.size()) j["class_name"] = model_.info.class_names[label];
    j["class"] = label;
  }
  if (!r_.init_noise.empty()) j["init_noise"] = r_.init_noise.filename().string();
  if (!r_.context.empty()) j["context"] = r_.context.filename().string();
  if (context_.has_prompts()) j["prompt"] = context_.prompt(image);
  if (r_.negative_prompt) j["negative_prompt"] = *r_.negative_prompt;
  return j.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

int64_t ImageMaker::side() const { return model_.info.config.img_size * (latents_ ? latents_->factor() : 1); }

Tensor ImageMaker::decode(Tensor x) {
  return in_scope(ctx_, [&] { return latents_ ? latents_->decode(ctx_, x) : x; });
}

Tensor ImageMaker::make(std::span<const size_t> images, const StepObserver& observe) {
  ctx_.arena().reset();
  const UViCConfig& c = model_.info.config;
  const int64_t n = static_cast<int64_t>(images.size());
  std::vector<uint64_t> seeds;
  std::vector<int32_t> labels, others;
  std::vector<float> shares;
  for (const size_t i : images) {
    seeds.push_back(r_.seeds[i]);
    if (!labels_.empty()) labels.push_back(labels_[i]);
    if (other_label_ < 0) continue;
    others.push_back(other_label_);
    shares.push_back(static_cast<float>(r_.share_of(i)));
  }
  const Tensor x = ctx_.empty(DType::f32, {n, c.in_chans, c.img_size, c.img_size});
  const bool noise_given = start_from_.noise(ctx_, images, x);
  in_scope(ctx_, [&] {
    generator_->generate(ctx_,
                         {.seeds = seeds,
                          .labels = labels,
                          .other_labels = others,
                          .share = shares,
                          .negative_label = negative_label_,
                          .context = context_.of(ctx_, images),
                          .null_context = context_.null_of(ctx_, n),
                          .noise_given = noise_given,
                          .init = start_from_.init(ctx_, n),
                          .keep = start_from_.keep(ctx_, n)},
                         x, observe);
  });
  return x;
}

}  // namespace uvic
