#pragma once

// Text towers small enough for a test, of CLIP's whole vocabulary, and prompts that fit them.

#include <nlohmann/json.hpp>

#include "app/text_tower.h"
#include "model/io/safetensors.h"
#include "tests/app/image_fixtures.h"

namespace uvic::test {

struct MadeTower {
  int64_t width = 8, tokens = 12, vocabulary = 49408, layers = 1, hidden = 16, heads = 2;
  uint64_t seed = 1;
};

// Random weights with HuggingFace's names in folder/file, and config.json beside them. Returns the file.
inline std::filesystem::path write_tower(const std::filesystem::path& folder, const MadeTower& m = {},
                                         const std::string& file = "model.safetensors") {
  std::filesystem::create_directories(folder);
  std::vector<OwnedTensor> memory;
  std::vector<NamedTensor> tensors;
  const auto add = [&](const std::string& name, Shape shape, double scale) {
    memory.push_back(random_tensor(DType::f32, shape, m.seed * 1000 + memory.size(), scale));
    tensors.push_back({"text_model." + name, memory.back().tensor});
  };
  const auto linear = [&](const std::string& name, int64_t out, int64_t in) {
    add(name + ".weight", {out, in}, 0.5);
    add(name + ".bias", {out}, 0.2);
  };
  const auto norm = [&](const std::string& name) {
    add(name + ".weight", {m.width}, 1);
    add(name + ".bias", {m.width}, 0.2);
  };
  add("embeddings.token_embedding.weight", {m.vocabulary, m.width}, 1);
  add("embeddings.position_embedding.weight", {m.tokens, m.width}, 0.5);
  for (int64_t i = 0; i < m.layers; ++i) {
    const std::string layer = concat("encoder.layers.", i, '.');
    norm(layer + "layer_norm1");
    for (const char* part : {"q", "k", "v", "out"})
      linear(concat(layer, "self_attn.", part, "_proj"), m.width, m.width);
    norm(layer + "layer_norm2");
    linear(layer + "mlp.fc1", m.hidden, m.width);
    linear(layer + "mlp.fc2", m.width, m.hidden);
  }
  norm("final_layer_norm");
  write_safetensors(folder / file, tensors, {});
  write_text(folder / "config.json", nlohmann::json{{"num_attention_heads", m.heads}}.dump());
  return folder / file;
}

// [N, T, D] by that tower.
inline OwnedTensor embedded(const std::filesystem::path& tower, const std::vector<std::string>& texts) {
  Context ctx({.threads = 1});
  const TextTower loaded(ctx, {.weights = tower, .tokenizer = {}, .warn = {}});
  OwnedTensor out({}, DType::f32, {static_cast<int64_t>(texts.size()), loaded.tokens(), loaded.width()});
  loaded.embed(ctx, texts, out.tensor);
  return out;
}

}  // namespace uvic::test
