#include "model/config.h"

#include <array>

#include "kernels/core/error.h"
#include "kernels/core/text.h"

namespace uvic {
namespace {

struct Size {
  const char* name;
  int embed_dim, depth, num_heads;
  bool conv;
};
// U-ViT paper, table 1, and the released configs (H has no final convolution); mini is ours.
constexpr std::array<Size, 6> kSizes{{{"mini", 256, 8, 4, true},
                                      {"S", 512, 12, 8, true},
                                      {"S-Deep", 512, 16, 8, true},
                                      {"M", 768, 16, 12, true},
                                      {"L", 1024, 20, 16, true},
                                      {"H", 1152, 28, 16, false}}};

}  // namespace

AttentionKind UViCConfig::kind(int block) const {
  if (!attention.empty()) return attention[static_cast<size_t>(block)];
  const bool outermost = block == 0 || block == blocks() - 1;
  return arch == "uvit" || outermost ? AttentionKind::softmax : AttentionKind::cog;
}

double UViCConfig::forward_flops() const {
  const double d = embed_dim, l = tokens(), pixels = double(in_chans) * patch_size * patch_size;
  const double block = 2 * l * (4 * d * d + 2 * d * hidden()) + 4 * l * l * d;
  double flops = blocks() * block;
  if (skip) flops += (depth / 2) * 2 * l * 2 * d * d;
  if (mlp_time_embed) flops += 2 * 8 * d * d;
  flops += 2.0 * num_clip_token * clip_dim * d;
  flops += 2 * patches() * pixels * d + 2 * l * pixels * d;  // patch_embed, decoder_pred
  if (conv) flops += 2.0 * 9 * in_chans * in_chans * img_size * img_size;
  return flops;
}

void validate(const UViCConfig& c) {
  const auto positive = [](const char* field, int v) { UVIC_CHECK(v > 0, field, " must be positive, got ", v); };
  UVIC_CHECK(c.arch == "uvic" || c.arch == "uvit", "arch must be 'uvic' or 'uvit', got '", c.arch, "'");
  positive("img_size", c.img_size);
  positive("patch_size", c.patch_size);
  positive("in_chans", c.in_chans);
  positive("embed_dim", c.embed_dim);
  positive("depth", c.depth);
  positive("num_heads", c.num_heads);
  UVIC_CHECK(c.img_size % c.patch_size == 0, "img_size ", c.img_size, " is not a multiple of patch_size ",
             c.patch_size);
  UVIC_CHECK(c.depth % 2 == 0, "depth must be even, got ", c.depth);
  UVIC_CHECK(c.embed_dim % c.num_heads == 0, "embed_dim ", c.embed_dim, " is not a multiple of num_heads ",
             c.num_heads);
  UVIC_CHECK(c.head_dim() <= 128, "embed_dim / num_heads must be at most 128, got ", c.head_dim());
  UVIC_CHECK(c.mlp_ratio > 0 && c.hidden() > 0, "mlp_ratio must be positive, got ", c.mlp_ratio);
  UVIC_CHECK(c.num_classes == -1 || c.num_classes > (c.null_class ? 1 : 0),
             "num_classes must be -1 (no labels) or count at least one real class, got ", c.num_classes);
  UVIC_CHECK(c.num_classes > 0 || !c.null_class, "null_class needs num_classes");
  UVIC_CHECK((c.clip_dim > 0) == (c.num_clip_token > 0), "clip_dim (", c.clip_dim, ") and num_clip_token (",
             c.num_clip_token, ") go together: both positive, or both 0");
  UVIC_CHECK(c.num_classes <= 0 || c.num_clip_token == 0, "a model takes labels or text, not both");
  UVIC_CHECK(c.attention.empty() || c.attention.size() == static_cast<size_t>(c.blocks()), "attention lists ",
             c.attention.size(), " kinds for ", c.blocks(), " blocks");
}

UViCConfig preset(const std::string& name) {
  for (const bool uvic : {true, false}) {
    const std::string prefix = uvic ? "U-ViC-" : "U-ViT-";
    for (const Size& size : kSizes) {
      for (const int patch : {2, 4}) {
        if (name != prefix + size.name + "/" + std::to_string(patch)) continue;
        UViCConfig c;
        c.arch = uvic ? "uvic" : "uvit";
        c.patch_size = patch;
        c.embed_dim = size.embed_dim;
        c.depth = size.depth;
        c.num_heads = size.num_heads;
        c.conv = size.conv;
        return c;
      }
    }
  }
  throw Error("unknown model '" + name + "'", "did you mean '" + nearest(name, preset_names()) + "'?");
}

std::vector<std::string> preset_names() {
  std::vector<std::string> names;
  for (const char* prefix : {"U-ViC-", "U-ViT-"})
    for (const Size& size : kSizes)
      for (const char* patch : {"/2", "/4"}) names.push_back(std::string(prefix) + size.name + patch);
  return names;
}

}  // namespace uvic
