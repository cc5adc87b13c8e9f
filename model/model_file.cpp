#include "model/model_file.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "kernels/core/text.h"
#include "kernels/ops/pointwise.h"
#include "kernels/ops/transfer.h"
#include "model/config_json.h"
#include "model/io/convert.h"
#include "model/io/file.h"
#include "model/io/safetensors.h"
#include "model/io/torch_pickle.h"

namespace uvic {
namespace fs = std::filesystem;
using nlohmann::json;
namespace {

// The number of blocks "prefix0", "prefix1", ... in weights.
int count_blocks(const Weights& weights, const std::string& prefix) {
  int n = 0;
  while (weights.find(concat(prefix, n, ".norm1.weight"))) ++n;
  return n;
}

UViCConfig infer_config(const Weights& weights) {
  const auto need = [&](const std::string& name, int rank) {
    const Tensor t = weights.find(name);
    UVIC_CHECK(t && t.rank() == rank, weights.path.string(), ": not the weights of a U-ViT: no '", name, "' of rank ",
               rank);
    return t;
  };
  UViCConfig c;
  c.arch = "uvit";
  const Tensor patch = need("patch_embed.proj.weight", 4), pos = need("pos_embed", 3);
  c.embed_dim = static_cast<int>(patch.dim(0));
  c.in_chans = static_cast<int>(patch.dim(1));
  c.patch_size = static_cast<int>(patch.dim(2));
  c.depth = 2 * count_blocks(weights, "in_blocks.");
  c.num_heads = std::max(1, c.embed_dim / (c.embed_dim == 1152 ? 72 : 64));
  c.mlp_ratio = static_cast<double>(need("mid_block.mlp.fc1.weight", 2).dim(0)) / c.embed_dim;
  c.qkv_bias = bool(weights.find("mid_block.attn.qkv.bias"));
  c.mlp_time_embed = bool(weights.find("time_embed.0.weight"));
  c.conv = bool(weights.find("final_layer.weight"));
  c.skip = bool(weights.find("out_blocks.0.skip_linear.weight"));
  if (weights.find("label_emb.weight")) {
    c.num_classes = static_cast<int>(need("label_emb.weight", 2).dim(0));
    c.null_class = c.num_classes > 1 && c.num_classes % 10 == 1;
  }
  int64_t tokens = pos.dim(1) - 1 - (c.num_classes > 0 ? 1 : 0);
  if (weights.find("context_embed.weight")) {
    // Patches and context share what is left: the largest square of patches that leaves some context, and CLIP's 77
    // tokens where that fits.
    c.clip_dim = static_cast<int>(need("context_embed.weight", 2).dim(1));
    const auto square = [](int64_t n) { return n > 0 && std::llround(std::sqrt(n)) * std::llround(std::sqrt(n)) == n; };
    c.num_clip_token = 77;
    if (!square(tokens - 77)) {
      const int64_t side = static_cast<int64_t>(std::sqrt(static_cast<double>(tokens - 1)));
      c.num_clip_token = static_cast<int>(tokens - side * side);
    }
    tokens -= c.num_clip_token;
  }
  const int64_t side = std::llround(std::sqrt(static_cast<double>(std::max<int64_t>(tokens, 0))));
  UVIC_CHECK(side > 0 && side * side == tokens, weights.path.string(), ": ", tokens, " patch tokens are not a square");
  c.img_size = static_cast<int>(side) * c.patch_size;
  validate(c);
  return c;
}

// JSON text, and so a file's metadata, must be UTF-8; names of folders need not be.
std::string utf8(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

}  // namespace

void save_model(Context& ctx, const fs::path& path, const ParamStore& store, Role role, DType dtype,
                const ModelInfo& info) {
  auto scope = ctx.scope("save_model");
  std::vector<NamedTensor> tensors;
  for (const ParamStore::Param& p : store.params()) tensors.push_back({p.name, Tensor(nullptr, dtype, p.shape)});
  const auto plain = [](const std::string& s) { return json::parse(utf8(s)).get<std::string>(); };
  std::map<std::string, std::string> metadata{{"format", "uvic"},
                                              {"config", config_to_json(info.config)},
                                              {"schedule", info.schedule},
                                              {"prediction", info.prediction},
                                              {"class_names", utf8(info.class_names)},
                                              {"step", std::to_string(info.step)},
                                              {"train_config", plain(info.train_config)}};
  if (info.scale_factor > 0) metadata["scale_factor"] = json(info.scale_factor).dump();
  if (!info.autoencoder.empty()) metadata["autoencoder"] = plain(info.autoencoder);
  if (!info.text_encoder.empty()) metadata["text_encoder"] = plain(info.text_encoder);
  write_safetensors(path, tensors, metadata, [&](size_t id) {
    OwnedTensor values = store.get(ctx, role, static_cast<int>(id));
    if (values.tensor.dtype() == dtype) return values;
    OwnedTensor rounded({}, dtype, values.tensor.shape());
    convert(values.tensor, rounded.tensor);
    return rounded;
  });
}

Tensor Weights::find(const std::string& name) const {
  const auto it = std::find_if(tensors.begin(), tensors.end(), [&](const auto& t) { return t.first == name; });
  return it == tensors.end() ? Tensor{} : it->second;
}

Weights read_weights(const fs::path& path) {
  Weights weights{.path = path};
  std::ifstream in(path, std::ios::binary);
  char head[9] = {};
  in.read(head, 9);
  if (in.gcount() == 9 && head[8] == '{') {  // a header length, then JSON: safetensors
    auto file = std::make_shared<SafetensorsFile>(path);
    for (const std::string& name : file->names()) weights.tensors.emplace_back(name, file->tensor(name));
    weights.metadata = file->metadata();
    weights.keep_alive = file;
  } else {
    auto file = std::make_shared<TorchFile>(path);
    const auto tensors = in_file(path, [&] { return state_dict(file->root()); });
    for (const NamedTensor& t : tensors) weights.tensors.emplace_back(t.name, t.tensor);
    weights.keep_alive = file;
  }
  return weights;
}

bool has_model_info(const Weights& weights) { return weights.metadata.contains("config"); }

ModelInfo model_info(const Weights& weights) {
  ModelInfo info;
  if (!has_model_info(weights)) {
    info.config = infer_config(weights);
    return info;
  }
  const std::string where = weights.path.string();
  const auto text = [&](const char* key, const std::string& otherwise) {
    const auto it = weights.metadata.find(key);
    return it == weights.metadata.end() ? otherwise : it->second;
  };
  info.config = config_from_json(weights.metadata.at("config"), where);
  info.schedule = text("schedule", info.schedule);
  info.prediction = text("prediction", info.prediction);
  info.train_config = text("train_config", "");
  info.autoencoder = text("autoencoder", "");
  info.text_encoder = text("text_encoder", "");
  const json scale = json::parse(text("scale_factor", "0"), nullptr, false);
  UVIC_CHECK(scale.is_number() && scale >= 0, where, ": scale_factor in the metadata is not a number");
  info.scale_factor = scale;
  const json names = json::parse(text("class_names", "[]"), nullptr, false);
  UVIC_CHECK(names.is_array(), where, ": class_names in the metadata is not a JSON array");
  for (const json& name : names) {
    UVIC_CHECK(name.is_string(), where, ": a class name in the metadata is not a string");
    info.class_names.push_back(name);
  }
  const std::string step = text("step", "0");
  UVIC_CHECK(!step.empty() && step.size() < 18 && step.find_first_not_of("0123456789") == std::string::npos, where,
             ": step in the metadata is '", step, "', not a number");
  info.step = std::stoll(step);
  return info;
}

void load_weights(Context& ctx, const Weights& weights, ParamStore& store, Role role) {
  auto scope = ctx.scope("load_weights");
  const std::string where = weights.path.string();
  std::vector<std::string> names;
  for (const auto& p : store.params()) names.push_back(p.name);
  for (const auto& [name, tensor] : weights.tensors) {
    if (store.find(name) < 0)
      throw Error(where + ": tensor '" + name + "' is not in this model",
                  "the nearest name in the model is '" + nearest(name, names) + "'");
  }
  for (size_t id = 0; id < store.params().size(); ++id) {
    const ParamStore::Param& p = store.params()[id];
    const Tensor t = weights.find(p.name);
    UVIC_CHECK(t, where, ": tensor '", p.name, "' ", p.shape, " is missing");
    UVIC_CHECK(t.shape() == p.shape, where, ": tensor '", p.name, "' is ", t.shape(), ", this model needs ", p.shape);
    store.set(ctx, role, static_cast<int>(id), t);
  }
}

}  // namespace uvic
