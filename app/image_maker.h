#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

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
  // Loads the model. Throws Error if it cannot be read, or if the options do not fit it or each other. The request must
  // outlive this.
  explicit ImageMaker(const SampleRequest& request);

  Context& ctx() { return ctx_; }
  const LoadedModel& model() const { return model_; }
  // What an image was made with, as JSON.
  std::string parameters(size_t image) const;

  // Some images of the request, [B, C, h, w] f32 before rounding to 8 bits. They lie in ctx()'s arena, which is reset
  // first.
  Tensor make(std::span<const size_t> images, const StepObserver& observe = {});

 private:
  const SampleRequest& r_;
  Context ctx_;
  LoadedModel model_;
  std::optional<LoadedModel> guide_;
  Schedule schedule_;
  GeneratorOptions options_;
  std::vector<int32_t> labels_;
  int32_t other_label_, negative_label_;
  TextContext context_;
  SampleStart start_from_;
};

}  // namespace uvic
