#pragma once

#include <filesystem>
#include <optional>

#include "app/config.h"
#include "app/generator.h"
#include "app/latent_images.h"
#include "app/train_step.h"
#include "sampler/schedule.h"

namespace uvic {

// How config.sample says that images are made while it trains.
GeneratorOptions preview_options(const RunConfig& config);

// The preview grids of a run: config.sample.count images of the EMA weights, from the same seeds and labels every time,
// a class a column where there are ten or fewer.
class Previews {
 public:
  // There are none for sample.every or sample.count 0, nor for networks with text conditions, nor for one on latents
  // whose autoencoder is not found: which is said on stderr, and no reason not to train. info: of the model in the
  // making; run: its folder; device: the run's. config must outlive this.
  Previews(const RunConfig& config, const ModelInfo& info, const std::filesystem::path& run, Device device);

  bool due(int64_t step) const;
  // Writes a grid to path. The store goes through Role::ema and is back in Role::master after; the tensors lie in ctx's
  // arena.
  void write(Context& ctx, TrainedModel& model, const Schedule& schedule, const std::filesystem::path& path) const;

 private:
  const RunConfig& config_;
  bool on_;
  std::optional<LatentImages> latents_;  // of a model on latents
};

}  // namespace uvic
