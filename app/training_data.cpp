#include "app/training_data.h"

#include "app/data/latent_rows.h"
#include "kernels/core/error.h"

namespace uvic {
namespace {

void check_classes(const std::string& path, bool labels, size_t classes, const UViCConfig& model) {
  if (model.num_classes <= 0) return;
  UVIC_CHECK(labels, path, ": has no classes, but model.num_classes is ", model.num_classes);
  UVIC_CHECK(static_cast<int>(classes) == model.real_classes(), path, ": has ", classes,
             " classes, but model.num_classes is ", model.num_classes, model.null_class ? " with" : " without",
             " a null class: it must be ", static_cast<int>(classes) + (model.null_class ? 1 : 0));
}

void check_latents(const LatentInfo& data, const RunConfig& config) {
  const UViCConfig& m = config.model;
  UVIC_CHECK(data.channels() == m.in_chans, data.path, ": latents of ", data.channels(),
             " channels, but model.in_chans is ", m.in_chans);
  UVIC_CHECK(data.latent[1] == m.img_size && data.latent[2] == m.img_size, data.path, ": latents of ", data.latent[1],
             " x ", data.latent[2], ", but model.img_size is ", m.img_size);
  UVIC_CHECK(config.latents.scale_factor == 0 || !data.tiny || config.latents.scale_factor == 1, data.path,
             ": latents of a tiny autoencoder, whose scale is 1, but latents.scale_factor is ",
             config.latents.scale_factor);
  if (!data.class_names.empty() || !data.labels) check_classes(data.path, data.labels, data.class_names.size(), m);
  if (m.num_clip_token == 0) return;
  if (data.context.rank() == 0)
    throw Error(concat(data.path, ": has no texts, but model.num_clip_token is ", m.num_clip_token),
                concat("uvic-encode text captions.jsonl -o ", data.path, " adds them"));
  UVIC_CHECK(data.context[0] == m.num_clip_token && data.context[1] == m.clip_dim, data.path, ": texts of ",
             data.context[0], " tokens of width ", data.context[1], ", but model.num_clip_token is ", m.num_clip_token,
             " and model.clip_dim ", m.clip_dim);
}

}  // namespace

TrainingData::TrainingData(const DataConfig& config) : config_(config) {
  if (config.format == "latents") {
    if (!config.classes.empty())
      throw Error("data.classes is set, but the classes of latents are chosen when they are made",
                  "give --classes to uvic-encode images");
    latents_ = open_latents(config.path);
  } else {
    images_ = std::make_unique<const Dataset>(config);
  }
}

void TrainingData::check_fits(const RunConfig& config) const {
  if (latents_) return check_latents(latents_->info(), config);
  check_classes(images_->path(), images_->classes() > 0, static_cast<size_t>(images_->classes()), config.model);
}

int64_t TrainingData::samples() const { return images_ ? images_->size() : LatentRows::samples(*latents_, config_); }

const std::vector<std::string>& TrainingData::class_names() const {
  return images_ ? images_->class_names() : latents_->info().class_names;
}

OwnedTensor TrainingData::contexts(int64_t n) const {
  const LatentInfo& info = latents_->info();
  OwnedTensor all({}, DType::f32, {n, info.context[0], info.context[1]});
  const OwnedTensor latent({}, DType::f32, info.latent);
  for (int64_t i = 0; i < n; ++i)
    latents_->read(i * latents_->size() / n, false, 0, latent.tensor, all.tensor.rows(i, i + 1));
  return all;
}

std::vector<std::string> TrainingData::lost_shards() const {
  return images_ ? images_->lost_shards() : std::vector<std::string>{};
}

std::unique_ptr<BatchLoader> TrainingData::load(const LoaderOptions& options) const {
  return images_ ? std::make_unique<BatchLoader>(*images_, config_, options)
                 : std::make_unique<BatchLoader>(*latents_, config_, options);
}

double latent_scale(const RunConfig& config, const LatentInfo* latents) {
  if (!latents) return 0;
  return config.latents.scale_factor > 0 ? config.latents.scale_factor : latents->scale_factor;
}

}  // namespace uvic
