#pragma once

#include <filesystem>
#include <memory>

#include "model/autoencoder.h"
#include "model/model_file.h"

namespace uvic {

struct LatentOptions {
  std::filesystem::path autoencoder;  // empty: the one that the model names, or that lies beside it
  double scale_factor = 0;            // 0: the model's; else the autoencoder's; else Stable Diffusion's
  int64_t tile = 0;                   // see Autoencoder::Options
};

// Whether a model makes latents, which an autoencoder turns into images.
bool makes_latents(const ModelInfo& info);

// Images of a model on latents, through its autoencoder.
class LatentImages {
 public:
  // Finds and loads it. model: the file or folder that info is of, beside which it may lie. Throws Error naming every
  // place that was looked at, or what does not fit. That bf16 was not enough is said once, on stderr.
  LatentImages(const ModelInfo& info, const std::filesystem::path& model, DType dtype, const LatentOptions& options);

  int64_t factor() const { return autoencoder_->factor(); }  // pixels a latent, each way
  double scale() const { return scale_; }
  const std::filesystem::path& path() const { return autoencoder_->path(); }

  // What the model makes, x [B, C, h, w] f32, as images [B, 3, H, W] f32 about [-1, 1]; and the way back, by the mean.
  // Results lie in ctx's arena.
  Tensor decode(Context& ctx, Tensor x) const;
  Tensor encode(Context& ctx, Tensor images) const;

 private:
  std::unique_ptr<Autoencoder> autoencoder_;
  double scale_;
};

}  // namespace uvic
