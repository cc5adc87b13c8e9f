#pragma once

#include <span>
#include <vector>

#include "app/sample_run.h"
#include "kernels/core/memory.h"
#include "model/model_file.h"

namespace uvic {

// The label of every image as --class says; none for a model without labels. Throws Error with the nearest class names.
std::vector<int32_t> choose_labels(const ModelInfo& info, const SampleRequest& request);
// The label that images with --interpolate go to: of the second class of --class, -1 if it names one. Throws as above.
int32_t other_label(const ModelInfo& info, const SampleRequest& request);
// Of --negative-class; -1: the null class.
int32_t negative_label(const ModelInfo& info, const SampleRequest& request);

// Text embeddings of every image from the file of --context; empty for a model without text.
class TextContext {
 public:
  // Throws Error if the file is missing where it is needed, or does not fit the model or the number of images.
  TextContext(const SampleRequest& request, const UViCConfig& config);

  // Those of some images, [B, T, D] f32 in ctx's arena; empty without text.
  Tensor of(Context& ctx, std::span<const size_t> images) const;
  // The same number of null contexts; empty without guidance.
  Tensor null_of(Context& ctx, int64_t count) const;

 private:
  OwnedTensor rows_, null_;  // [N or 1, T, D] and [1, T, D] f32
};

}  // namespace uvic
