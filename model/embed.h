#pragma once

#include <optional>

#include "model/config.h"
#include "model/layers.h"

namespace uvic {

// What the network is told besides the image: nothing, y [B] i32 (label models), or context [B, T, clip_dim] f32.
struct Conditions {
  Tensor y, context;
};

// Image, time and condition into tokens. The token order is decided here and nowhere else:
// [time, patches], [label, time, patches] (label first), or [time, context, patches].
class Embed {
 public:
  Embed(ParamStore& store, const UViCConfig& config);

  struct Saved {
    Linear::Saved patches, context, time1, time2;
    Tensor y;
  };
  // image [B, C, h, w] f32, t [B] f32 -> tokens [B * L, embed_dim], with pos_embed added.
  Tensor forward(Context& ctx, Tensor image, Tensor t, const Conditions& conditions, Saved* s) const;
  // dtokens is only read. Overwrites dimage [B, C, h, w] f32 and dcontext [B, T, clip_dim] f32, each skipped if empty.
  void backward(Context& ctx, const Saved& s, Tensor dtokens, Tensor dimage, Tensor dcontext) const;

 private:
  Tensor time_token(Context& ctx, Tensor t, Saved* s) const;
  int64_t time_position() const { return config_.num_classes > 0 ? 1 : 0; }

  UViCConfig config_;
  const ParamStore* store_;
  int pos_embed_;
  std::optional<Linear> time1_, time2_;
  int patch_weight_, patch_bias_;
  int label_ = -1;
  std::optional<Linear> context_;
};

// Tokens back into an image: norm, linear, unpatchify, 3x3 convolution.
class Head {
 public:
  Head(ParamStore& store, const UViCConfig& config);

  struct Saved {
    LayerNorm::Saved norm;
    Linear::Saved decoder;
    Conv3x3::Saved conv;
  };
  // tokens [B * L, embed_dim] -> image [B, C, h, w] f32, overwritten.
  void forward(Context& ctx, int64_t batch, Tensor tokens, Saved* s, Tensor image) const;
  // Returns dtokens [B * L, embed_dim].
  Tensor backward(Context& ctx, const Saved& s, Tensor dimage) const;

 private:
  UViCConfig config_;
  LayerNorm norm_;
  Linear decoder_;
  std::optional<Conv3x3> conv_;
};

}  // namespace uvic
