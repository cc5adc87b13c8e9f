#pragma once

#include <filesystem>
#include <optional>

#include "app/config.h"
#include "app/generator.h"
#include "app/latent_images.h"
#include "app/sample_texts.h"

namespace uvic {

// How config.sample says that images are made while it trains.
GeneratorOptions preview_options(const RunConfig& config);

// Texts for the images of a run: prompts, then those of file (empty: none), read by the model's text encoder. Throws
// Error as TextContext does.
TextContext run_texts(Context& ctx, const RunConfig& config, const ModelInfo& info, const std::filesystem::path& run,
                      const std::vector<std::string>& prompts, const std::filesystem::path& file);

// The images of a run's model on its way, for previews and evaluations, as config.sample says: image i has seed
// sample.seed + i and class, or text, i mod their number, every time.
class RunImages {
 public:
  // info: of the model in the making; run: its folder. For a model on latents, loads the autoencoder that turns them
  // into images on device. config must outlive this. Throws Error as LatentImages does.
  RunImages(const RunConfig& config, const ModelInfo& info, const std::filesystem::path& run, Device device);

  // Of this process, the first of the run's or another: nothing where config asks for none. If there are to be previews
  // alone, what is wrong is said on stderr, and no reason not to train.
  static std::optional<RunImages> if_wanted(const RunConfig& config, const ModelInfo& info,
                                            const std::filesystem::path& run, Device device, bool first);
  static bool previews_wanted(const RunConfig& config);

  // Images first ... first + count - 1 of the weights in use: pixels [count, H, W, 3] u8, on the host. texts: null only
  // for a model without.
  OwnedTensor make(Context& ctx, const UViC& net, const Schedule& schedule, const TextContext* texts, int64_t first,
                   int64_t count) const;

 private:
  const RunConfig& config_;
  std::optional<LatentImages> latents_;
};

}  // namespace uvic
