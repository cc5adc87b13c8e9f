#include "model/config_json.h"

#include <nlohmann/json.hpp>

#include "kernels/core/error.h"

namespace uvic {
using nlohmann::json;
namespace {

AttentionKind kind_of(const std::string& name) {
  for (const AttentionKind kind : {AttentionKind::softmax, AttentionKind::cog, AttentionKind::expressive})
    if (name == name_of(kind)) return kind;
  throw Error("unknown attention kind '" + name + "'", "known are softmax, cog and expressive");
}

}  // namespace

std::string config_to_json(const UViCConfig& c) {
  json kinds = json::array();
  for (int i = 0; i < c.blocks(); ++i) kinds.push_back(name_of(c.kind(i)));
  return json{{"arch", c.arch},
              {"img_size", c.img_size},
              {"patch_size", c.patch_size},
              {"in_chans", c.in_chans},
              {"embed_dim", c.embed_dim},
              {"depth", c.depth},
              {"num_heads", c.num_heads},
              {"mlp_ratio", c.mlp_ratio},
              {"qkv_bias", c.qkv_bias},
              {"qk_scale", c.qk_scale > 0 ? json(c.qk_scale) : json(nullptr)},
              {"mlp_time_embed", c.mlp_time_embed},
              {"num_classes", c.num_classes},
              {"null_class", c.null_class},
              {"clip_dim", c.clip_dim},
              {"num_clip_token", c.num_clip_token},
              {"conv", c.conv},
              {"skip", c.skip},
              {"attention", kinds}}
      .dump();
}

UViCConfig config_from_json(const std::string& text, const std::string& where) {
  const json j = json::parse(text, nullptr, false);
  UVIC_CHECK(j.is_object(), where, ": the model's config is not a JSON object");
  UViCConfig c;
  try {
    c.arch = j.value("arch", c.arch);
    c.img_size = j.value("img_size", c.img_size);
    c.patch_size = j.value("patch_size", c.patch_size);
    c.in_chans = j.value("in_chans", c.in_chans);
    c.embed_dim = j.value("embed_dim", c.embed_dim);
    c.depth = j.value("depth", c.depth);
    c.num_heads = j.value("num_heads", c.num_heads);
    c.mlp_ratio = j.value("mlp_ratio", c.mlp_ratio);
    c.qkv_bias = j.value("qkv_bias", c.qkv_bias);
    if (j.contains("qk_scale") && !j["qk_scale"].is_null()) c.qk_scale = j["qk_scale"];
    c.mlp_time_embed = j.value("mlp_time_embed", c.mlp_time_embed);
    c.num_classes = j.value("num_classes", c.num_classes);
    c.null_class = j.value("null_class", c.null_class);
    c.clip_dim = j.value("clip_dim", c.clip_dim);
    c.num_clip_token = j.value("num_clip_token", c.num_clip_token);
    c.conv = j.value("conv", c.conv);
    c.skip = j.value("skip", c.skip);
    for (const json& kind : j.value("attention", json::array())) c.attention.push_back(kind_of(kind));
    validate(c);
  } catch (const json::exception& e) {
    throw Error(where + ": the model's config has a value of the wrong type: " + e.what());
  } catch (const Error& e) {
    throw Error(concat(where, ": ", e.what()), e.hint());
  }
  return c;
}

}  // namespace uvic
