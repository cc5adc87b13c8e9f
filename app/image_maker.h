#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "app/latent_images.h"
#include "app/loaded_model.h"
#include "app/sample_conditions.h"
#include "app/sample_run.h"
#include "app/sample_start.h"
#include "app/sample_texts.h"

namespace uvic {

// Makes the images of a SampleRequest from its model, whatever becomes of them: it reads nothing of what the request
// says about outputs.
class ImageMaker {
 public:
  // Loads the model, and the autoencoder of a model on latents if decode() will be called. Throws Error if one cannot
  // be read, or if the options do not fit it or each other. The request must outlive this.
  explicit ImageMaker(const SampleRequest& request, bool decodes = true);

  Context& ctx() { return ctx_; }
  const LoadedModel& model() const { return model_; }
  int64_t side() const;  // pixels of an image, which is square
  // What an image was made with, as JSON.
  std::string parameters(size_t image) const;

  // Some results of the request, images or latents [B, C, h, w] f32. They lie in ctx()'s arena, which is reset first.
  Tensor make(std::span<const size_t> images, const StepObserver& observe = {});
  // Of such results or of a state on the way, the images [B, 3, h, w] f32 before rounding to 8 bits, in ctx()'s arena.
  Tensor decode(Tensor x);

 private:
  const SampleRequest& r_;
  Context ctx_;
  LoadedModel model_;
  std::optional<LoadedModel> guide_;
  std::optional<LatentImages> latents_;
  Schedule schedule_;
  GeneratorOptions options_;
  std::vector<int32_t> labels_;
  int32_t other_label_, negative_label_;
  TextContext context_;
  SampleStart start_from_;
  std::optional<Generator> generator_;  // after all that it is made of
};

}  // namespace uvic
