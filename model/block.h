#pragma once

#include <optional>
#include <string>

#include "kernels/ops/attention.h"
#include "model/config.h"
#include "model/layers.h"

namespace uvic {

// proj(attention(qkv(x))) + residual.
class Attention {
 public:
  Attention(ParamStore& store, const std::string& name, const UViCConfig& config, AttentionKind kind);

  struct Saved {
    Linear::Saved qkv, proj;
    Tensor heads, o, stat;  // [B, L, 3, H, D], [B, L, H, D], [B, H, L]
  };
  Tensor forward(Context& ctx, int64_t batch, Tensor x, Tensor residual, Saved* s) const;
  // Returns the gradient at x; dy is also the residual's.
  Tensor backward(Context& ctx, const Saved& s, Tensor dy) const;

 private:
  AttentionArgs args(Tensor heads) const { return {.qkv = heads, .kind = kind_, .scale = scale_}; }

  int64_t num_heads_;
  AttentionKind kind_;
  float scale_;
  Linear qkv_, proj_;
};

// fc2(gelu(fc1(x))) + residual, into y.
class Mlp {
 public:
  Mlp(ParamStore& store, const std::string& name, const UViCConfig& config);

  struct Saved {
    Tensor x, pre;  // [B * L, embed_dim]; [B * L, hidden], which backward overwrites
  };
  void forward(Context& ctx, Tensor x, Tensor residual, Saved* s, Tensor y) const;
  Tensor backward(Context& ctx, const Saved& s, Tensor dy) const;

 private:
  int64_t hidden_;
  Linear fc1_, fc2_;
};

// One transformer block: x = skip_linear([x ; skip]) (out-blocks only); x += attention(norm1(x)); x += mlp(norm2(x)).
class Block {
 public:
  Block(ParamStore& store, const std::string& name, const UViCConfig& config, AttentionKind kind, bool takes_skip);

  struct Saved {
    SkipLinear::Saved skip;
    LayerNorm::Saved norm1, norm2;
    Attention::Saved attn;
    Mlp::Saved mlp;
  };
  // x, skip and the result are [B * L, embed_dim]; skip is empty unless the block takes one. With Keep::none what s
  // names is gone again: the result has the bits that training gives it, but nothing is left for backward.
  Tensor forward(Context& ctx, int64_t batch, Tensor x, Tensor skip, Saved* s, Keep keep = Keep::all) const;
  // dx is the residual stream's gradient: the gradient of the result on entry, added to, and scratch afterwards.
  // Overwrites dskip and dx_in, the gradient at x, which is dx itself unless the block takes a skip.
  void backward(Context& ctx, const Saved& s, Tensor dx, Tensor dx_in, Tensor dskip) const;

  const std::string& name() const { return name_; }
  bool takes_skip() const { return skip_.has_value(); }

 private:
  std::string name_;
  LayerNorm norm1_;
  Attention attn_;
  LayerNorm norm2_;
  Mlp mlp_;
  std::optional<SkipLinear> skip_;
};

}  // namespace uvic
