#include "app/train_settings.h"

#include <filesystem>

namespace uvic {
namespace fs = std::filesystem;
namespace {

// Models are published: theirs names no folder of the machine it was trained on.
RunConfig without_own_folders(RunConfig config) {
  const fs::path data = config.data.path;
  if (data.is_absolute()) config.data.path = data.filename().string();
  for (std::string* file : {&config.eval.prompts_file, &config.eval.stats, &config.eval.network})
    if (fs::path(*file).is_absolute()) *file = fs::path(*file).filename().string();
  return config;
}

}  // namespace

OptimizerConfig optimizer_of(const TrainConfig& c) {
  return {.lr = c.lr,
          .beta1 = c.beta1,
          .beta2 = c.beta2,
          .eps = c.eps,
          .weight_decay = c.weight_decay,
          .warmup_steps = c.warmup_steps,
          .lr_schedule = c.lr_schedule == "cosine" ? LrSchedule::cosine : LrSchedule::constant,
          .max_steps = c.max_steps,
          .grad_clip = c.grad_clip,
          .ema_rates = c.ema_rate};
}

ModelInfo info_of(const RunConfig& config, const TrainingData& data) {
  ModelInfo info{.config = config.model,
                 .schedule = config.diffusion.schedule,
                 .prediction = config.diffusion.prediction,
                 .class_names = config.model.num_classes > 0 ? data.class_names() : std::vector<std::string>{},
                 .train_config = dump_config(without_own_folders(config))};
  const LatentInfo* latents = data.latents();
  if (!latents) return info;
  const LatentsConfig& l = config.latents;
  info.scale_factor = latent_scale(config, latents);
  info.autoencoder = l.autoencoder.empty() ? latents->autoencoder : l.autoencoder;
  if (config.model.num_clip_token > 0)
    info.text_encoder = l.text_encoder.empty() ? latents->text_encoder : l.text_encoder;
  return info;
}

}  // namespace uvic
