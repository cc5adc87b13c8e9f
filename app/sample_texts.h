#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "app/loaded_model.h"
#include "app/sample_run.h"
#include "app/text_tower.h"
#include "kernels/core/memory.h"

namespace uvic {

// -p and --prompts-file together, in that order. Throws Error if the file cannot be read.
std::vector<std::string> prompts_of(const SampleRequest& request);

// Text embeddings of every image of a request: of its prompts, or from the file of --context. Empty for a model without
// text.
class TextContext {
 public:
  // Throws Error if something is given that does not fit the model, the number of images or the rest; if a text model
  // is given none; and, where there are prompts, if the model's text tower cannot be found. ctx's arena is used, and
  // rewound. request must outlive this.
  TextContext(Context& ctx, const SampleRequest& request, const LoadedModel& model);

  // Those of some images, [B, T, D] f32 in ctx's arena; empty without text.
  Tensor of(Context& ctx, std::span<const size_t> images) const;
  // The same number of null contexts; empty without guidance.
  Tensor null_of(Context& ctx, int64_t count) const;

  bool has_prompts() const { return !prompts_.empty(); }
  const std::string& prompt(size_t image) const { return prompts_[image % prompts_.size()]; }  // if there are any

 private:
  void check(const LoadedModel& model) const;
  OwnedTensor embed(Context& ctx, std::span<const std::string> texts) const;

  const SampleRequest& request_;
  std::vector<std::string> prompts_;
  Shape text_;                        // [T, D] of the model
  std::unique_ptr<TextTower> tower_;  // kept where there are more prompts than are embedded ahead
  OwnedTensor rows_, null_;           // [N, T, D], of image i row i mod N, and [1, T, D] f32
};

}  // namespace uvic
