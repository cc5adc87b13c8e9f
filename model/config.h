#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/ops/attention_score.h"

namespace uvic {

enum class Condition : uint8_t { none, label, text };

// What defines a U-ViT or U-ViC network. Field names are those of the released PyTorch constructors.
struct UViCConfig {
  std::string arch = "uvic";  // which attention pattern: "uvic" or "uvit" (softmax everywhere)
  int img_size = 32;          // pixels (or latents) a side
  int patch_size = 2;
  int in_chans = 3;
  int embed_dim = 512;
  int depth = 12;  // even: depth/2 in-blocks, one mid-block, depth/2 out-blocks
  int num_heads = 8;
  double mlp_ratio = 4;  // may be fractional: the hidden width is int(embed_dim * mlp_ratio)
  bool qkv_bias = false;
  double qk_scale = 0;  // 0: 1 / sqrt(head_dim)
  bool mlp_time_embed = false;
  int num_classes = -1;     // rows of the label table, the null class included; -1: no label token
  bool null_class = false;  // the last class is "no class", for classifier-free guidance
  int clip_dim = 0;         // text models: width and number of context tokens; 0: no context
  int num_clip_token = 0;
  bool conv = true;                      // final 3x3 convolution
  bool skip = true;                      // long skips with skip_linear
  std::vector<AttentionKind> attention;  // kind of each of the depth + 1 blocks (in, mid, out); empty: arch's pattern

  bool operator==(const UViCConfig&) const = default;

  static constexpr double kNormEps = 1e-5;

  Condition condition() const {
    return num_clip_token > 0 ? Condition::text : num_classes > 0 ? Condition::label : Condition::none;
  }
  int patches() const { return (img_size / patch_size) * (img_size / patch_size); }
  int extras() const { return 1 + (num_classes > 0 ? 1 : 0) + num_clip_token; }  // tokens before the patches
  int tokens() const { return extras() + patches(); }
  int head_dim() const { return embed_dim / num_heads; }
  int hidden() const { return static_cast<int>(embed_dim * mlp_ratio); }
  int blocks() const { return 2 * (depth / 2) + 1; }
  // Block index: 0 .. depth/2 - 1 in, depth/2 mid, then out. U-ViC keeps softmax in the first in- and last out-block.
  AttentionKind kind(int block) const;
  // Classes a user may ask for: num_classes without the null class; 0 if the model takes no label.
  int real_classes() const { return num_classes > 0 ? num_classes - (null_class ? 1 : 0) : 0; }
  // Multiply-adds x 2 of every matrix product and convolution of one image's forward pass (norms, softmax and
  // activations not counted).
  double forward_flops() const;
};

// Throws Error naming the field, what it is and what it may be.
void validate(const UViCConfig& config);

// "U-ViC-S/2", "U-ViT-L/4", "U-ViC-S-Deep/2", "U-ViC-mini/4", ...: width, depth, heads and patch size; image size,
// channels and condition stay at their defaults. Throws Error with the nearest names.
UViCConfig preset(const std::string& name);
std::vector<std::string> preset_names();

}  // namespace uvic
