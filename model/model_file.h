#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "model/config.h"
#include "model/params.h"

namespace uvic {

// What a model file says about itself beside its weights: enough to sample with nothing else.
struct ModelInfo {
  UViCConfig config;
  std::string schedule = "vp";           // noise schedule it was trained with: "vp", "linear", "cosine" or "sd"
  std::string prediction = "eps";        // what its output is: "eps", "x0" or "v"
  std::vector<std::string> class_names;  // by label; empty if there are none
  int64_t step = 0;                      // training steps behind the weights; 0 if unknown
  std::string train_config;              // the run's resolved YAML; empty if unknown
  // Of a model on latents: its images are autoencoder's, decoded from what it makes divided by scale_factor (0:
  // pixels). Paths are from the model's folder, or as the run that trained it had them; empty if unknown.
  double scale_factor = 0;
  std::string autoencoder, text_encoder;
};

// Writes role's weights, rounded to dtype (f32 or bf16), into one .safetensors file with info in its metadata;
// atomically.
void save_model(Context& ctx, const std::filesystem::path& path, const ParamStore& store, Role role, DType dtype,
                const ModelInfo& info);

// A state dict; the tensors (host memory, any dtype) stay readable as long as keep_alive does.
struct Weights {
  std::filesystem::path path;
  std::vector<std::pair<std::string, Tensor>> tensors;
  std::map<std::string, std::string> metadata;  // of a .safetensors file
  std::shared_ptr<void> keep_alive;

  Tensor find(const std::string& name) const;  // empty if there is none
};
// From .safetensors or PyTorch's .pth / .pt / .ckpt (either format), told apart by content.
Weights read_weights(const std::filesystem::path& path);

// info as save_model wrote it. For weights without it (a released state dict) the config is inferred from names and
// shapes; what cannot be seen there is guessed: num_heads (64 wide each, 72 where embed_dim is 1152), arch ("uvit"),
// null_class (where num_classes is 10 k + 1).
ModelInfo model_info(const Weights& weights);
bool has_model_info(const Weights& weights);

// Copies every parameter of store from weights into role, converting dtypes. Throws Error naming the file and the first
// tensor that is missing, has another shape (got, wanted), or is not in the model.
void load_weights(Context& ctx, const Weights& weights, ParamStore& store, Role role);

}  // namespace uvic
