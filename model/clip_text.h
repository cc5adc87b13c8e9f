#pragma once

#include <filesystem>
#include <memory>
#include <optional>

#include "kernels/core/context.h"
#include "kernels/ops/activation.h"
#include "model/model_file.h"

namespace uvic {

// What a text tower's weights do not say about it.
struct TextConfig {
  std::optional<int64_t> heads;  // none: of width 64, as in every published CLIP
  Activation act = Activation::quick_gelu;
  float eps = 1e-5f;
};
// From config.json beside a file of weights, as HuggingFace writes it for CLIPTextModel and CLIPModel; the defaults
// where there is none. Throws Error naming it if it is no JSON, or asks for what is not built.
TextConfig text_config(const std::filesystem::path& weights);

// CLIP's text transformer, frozen: token and position embeddings, pre-norm blocks with causal attention, final norm.
// Sizes are the file's. Padding is not masked, as in the released pipelines.
class TextEncoder {
 public:
  struct Options {
    DType dtype = DType::f32;  // of weights and activations: f32 or bf16
    std::optional<TextConfig> config;
  };
  // From .safetensors, .pth or .bin with HuggingFace's names (text_model.encoder.layers.0...) or OpenAI's
  // (transformer.resblocks.0...), under any prefix; what else a whole CLIP or Stable Diffusion holds is left out.
  // config is text_config(file) if not given. Throws Error naming the file and the first tensor that is missing, has
  // another shape, is not finite, or does not belong to the tower.
  static std::unique_ptr<TextEncoder> load(Context& ctx, const std::filesystem::path& file, const Options& options);
  // The same from weights that were read; they may be dropped afterwards.
  TextEncoder(Context& ctx, const Weights& weights, const Options& options);
  ~TextEncoder();

  int64_t width() const;   // of an embedding: 768 in ViT-L/14
  int64_t tokens() const;  // the longest text: 77
  int64_t vocabulary() const;
  int64_t parameters() const;

  // Overwrites out [N, T, width()] f32, on ctx's device or the host, with the last hidden state, after the final norm,
  // of ids [N, T] i32, on the host, T <= tokens(). Runs in pieces of equal size, so that memory does not grow with N
  // and a text's bits do not depend on the others. An id outside the vocabulary is an Error.
  void encode(Context& ctx, Tensor ids, Tensor out) const;

 private:
  struct Network;
  std::unique_ptr<Network> network_;
};

}  // namespace uvic
