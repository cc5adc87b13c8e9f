#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "kernels/core/context.h"
#include "model/clip_text.h"
#include "model/tokenizer.h"

namespace uvic {

// CLIP's tokenizer and text tower, found where users have them.
class TextTower {
 public:
  struct Options {
    std::filesystem::path weights;    // a file, or a folder with one or with text_encoder/, as HuggingFace's
    std::filesystem::path tokenizer;  // as Tokenizer::load takes it; empty: tokenizer/ or its files beside the weights,
                                      // else CLIP's own, which comes with uvic
    DType dtype = DType::f32;
    std::function<void(const std::string&)> warn;  // receives a line for every text that is cut
  };
  // Throws Error naming what is missing and where it was looked for, and if the two do not fit each other.
  TextTower(Context& ctx, const Options& options);

  const std::filesystem::path& weights() const { return weights_; }      // the file
  const std::filesystem::path& tokenizer() const { return tokenizer_; }  // likewise
  int64_t tokens() const { return encoder_->tokens(); }
  int64_t width() const { return encoder_->width(); }

  // Overwrites out [N, T, width()] f32 with the last hidden states of N texts, each cut or padded to T <= tokens().
  void embed(Context& ctx, std::span<const std::string> texts, Tensor out) const;

 private:
  std::filesystem::path weights_, tokenizer_;
  std::function<void(const std::string&)> warn_;
  std::unique_ptr<TextEncoder> encoder_;
  Tokenizer tokens_;
};

// Of a model at path, whose metadata names recorded ("" if it does not): given if that is not empty, else the first of
// those places where a text tower usually is. Throws Error naming them all.
std::filesystem::path find_text_encoder(const std::filesystem::path& given, const std::filesystem::path& model,
                                        const std::string& recorded);

}  // namespace uvic
