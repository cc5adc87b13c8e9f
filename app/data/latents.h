#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels/core/memory.h"

namespace uvic {

struct LatentInfo {
  std::string path;
  Shape latent;         // of an image: [2C, h, w], mean and log variance, or [C, h, w], means; not scaled
  bool moments = true;  // which of these
  bool flips = false;   // those of the mirrored images are there, too
  bool labels = false;
  std::vector<std::string> class_names = {};        // by label; empty: not known
  Shape context = {};                               // [T, D] of a caption; rank 0: no captions
  std::string autoencoder = {}, text_encoder = {};  // names of what made them; empty: not known
  double scale_factor = 0.18215;                    // of that autoencoder; Stable Diffusion's where it is not known
  bool tiny = false;                                // whose latents are never scaled

  int64_t channels() const { return latent[0] / (moments ? 2 : 1); }
};

// Latents of images, which may have labels and captions. All members may be called from several threads at once.
class LatentSource {
 public:
  virtual ~LatentSource() = default;

  const LatentInfo& info() const { return info_; }
  virtual int64_t size() const = 0;                               // images
  virtual std::string name(int64_t i) const = 0;                  // for messages
  virtual int64_t captions(int64_t i) const = 0;                  // at least 1, if there are captions at all
  Tensor empty_context() const { return empty_context_.tensor; }  // [T, D] f32: of no text; empty if no captions

  // Overwrites latent (f32, of info().latent) and, where there are captions, context [T, D] f32 with that of one of
  // them. flipped: the mirrored image's, if there are flips. Returns the label, or -1. Throws Error naming what is
  // damaged.
  virtual int32_t read(int64_t i, bool flipped, int64_t caption, Tensor latent, Tensor context) const = 0;

 protected:
  LatentInfo info_;
  OwnedTensor empty_context_;
};

// A folder that uvic-encode wrote latents of images into, and perhaps texts, joined by the images' names; or one of
// U-ViT's feature files: NNN.npy with (moments, label), or NNN.npy with moments beside NNN_K.npy with a context each
// and empty_context.npy there or one folder up. Throws Error for any other folder, and if an image has no caption but
// others do.
std::unique_ptr<LatentSource> open_latents(const std::string& path);
std::unique_ptr<LatentSource> open_latent_shards(const std::string& path);
std::unique_ptr<LatentSource> open_latent_features(const std::string& path);

}  // namespace uvic
