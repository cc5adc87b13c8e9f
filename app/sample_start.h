#pragma once

#include <span>

#include "app/latent_images.h"
#include "app/sample_run.h"
#include "kernels/core/context.h"

namespace uvic {

// What the images of a run start from, where it is not noise of their seeds alone: x_T from a file, an image to vary or
// to paint into, or noise between that of two seeds.
class SampleStart {
 public:
  // Reads the files of --init-noise, --init-image and --mask. all: the shape of every image of the run together;
  // latents: what turns images into them, or null where images are made as they are. Throws Error naming the option
  // that does not fit, or the file that cannot be read.
  SampleStart(const SampleRequest& request, const Shape& all, const LatentImages* latents);

  // Overwrites x [B, C, h, w] f32 with x_T of those images, and says so; false: their seeds say it.
  bool noise(Context& ctx, std::span<const size_t> images, Tensor x) const;
  // The image to start from, and the share of it to keep, once an image of the batch, in ctx's arena; empty if none.
  Tensor init(Context& ctx, int64_t batch) const { return repeated(ctx, init_.tensor, batch); }
  Tensor keep(Context& ctx, int64_t batch) const { return repeated(ctx, keep_.tensor, batch); }

 private:
  static Tensor repeated(Context& ctx, Tensor one, int64_t batch);

  const SampleRequest& request_;
  OwnedTensor noise_;        // [N, C, h, w]
  OwnedTensor init_, keep_;  // [1, C, h, w]
};

}  // namespace uvic
