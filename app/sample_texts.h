#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "app/sample_run.h"
#include "app/text_tower.h"
#include "kernels/core/memory.h"
#include "model/model_file.h"

namespace uvic {

// -p and --prompts-file together, in that order. Throws Error if the file cannot be read.
std::vector<std::string> prompts_of(const SampleRequest& request);

// Text embeddings of every image of a request: of its prompts, or from the file of --context. Empty for a model without
// text.
class TextContext {
 public:
  // info: of the model. Throws Error if something is given that does not fit it, the number of images or the rest; if a
  // text model is given none; and, where there are prompts, if its text tower cannot be found. ctx's arena is used, and
  // rewound.
  TextContext(Context& ctx, const SampleRequest& request, const ModelInfo& info);
  // Of embeddings that are there: rows [N, T, D] of image i mod N, null [1, T, D], both f32.
  TextContext(OwnedTensor rows, OwnedTensor null);

  // Those of some images, [B, T, D] f32 in ctx's arena; empty without text.
  Tensor of(Context& ctx, std::span<const size_t> images) const;
  // The same number of null contexts; empty without guidance.
  Tensor null_of(Context& ctx, int64_t count) const;

  bool has_prompts() const { return !prompts_.empty(); }
  const std::string& prompt(size_t image) const { return prompts_[image % prompts_.size()]; }  // if there are any

 private:
  void check(const SampleRequest& request, const ModelInfo& info) const;
  OwnedTensor embed(Context& ctx, std::span<const std::string> texts) const;

  std::vector<std::string> prompts_;
  Shape text_;                        // [T, D] of the model
  std::unique_ptr<TextTower> tower_;  // kept where there are more prompts than are embedded ahead
  OwnedTensor rows_, null_;           // [N, T, D], of image i row i mod N, and [1, T, D] f32
};

}  // namespace uvic
