#pragma once

// Reading the golden files of networks: tensors, and the config they were made with.

#include <nlohmann/json.hpp>

#include "model/config_json.h"
#include "model/io/convert.h"
#include "model/io/safetensors.h"
#include "model/params.h"
#include "tests/check.h"

namespace uvic::test {

inline OwnedTensor copy(const SafetensorsFile& file, const std::string& name, DType dtype) {
  const Tensor src = file.tensor(name);
  OwnedTensor t(host(), dtype, src.shape());
  convert(src, t.tensor);
  return t;
}

inline AttentionKind kind_named(const std::string& name) {
  for (const AttentionKind kind : {AttentionKind::softmax, AttentionKind::cog, AttentionKind::expressive})
    if (name == name_of(kind)) return kind;
  throw Error("attention kind " + name);
}

// The config of a golden file: the constructor's arguments, and the kind of each block where it is listed.
inline UViCConfig golden_config(const SafetensorsFile& file) {
  UViCConfig c = config_from_json(file.metadata().at("config"), file.path().string());
  if (!file.metadata().contains("attention")) return c;
  const nlohmann::json kinds = nlohmann::json::parse(file.metadata().at("attention"));
  for (const nlohmann::json& k : kinds["in_blocks"]) c.attention.push_back(kind_named(k));
  c.attention.push_back(kind_named(kinds["mid_block"]));
  for (const nlohmann::json& k : kinds["out_blocks"]) c.attention.push_back(kind_named(k));
  return c;
}

// Fills role with the tensors prefix + name.
inline void load_golden(Context& ctx, const SafetensorsFile& file, const std::string& prefix, ParamStore& store,
                        Role role) {
  for (size_t id = 0; id < store.params().size(); ++id)
    convert(ctx, file.tensor(prefix + store.params()[id].name), store.view(role, static_cast<int>(id)));
}

}  // namespace uvic::test
