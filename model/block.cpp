#include "model/block.h"

#include "kernels/ops/mlp.h"

namespace uvic {

// ---- Attention -----------------------------------------------------------------------------------------------------

Attention::Attention(ParamStore& store, const std::string& name, const UViCConfig& config, AttentionKind kind)
    : num_heads_(config.num_heads),
      kind_(kind),
      scale_(static_cast<float>(config.qk_scale)),
      qkv_(store, name + ".qkv", config.embed_dim, 3 * int64_t{config.embed_dim}, config.qkv_bias),
      proj_(store, name + ".proj", config.embed_dim, config.embed_dim, true) {}

Tensor Attention::forward(Context& ctx, int64_t batch, Tensor x, Tensor residual, Saved* s) const {
  Tensor y = ctx.like(residual);
  auto scope = ctx.scope("attn", s ? Keep::all : Keep::none);
  const int64_t rows = x.dim(0), width = x.dim(1), length = rows / batch;
  Tensor heads = qkv_.forward(ctx, x, part(s, &Saved::qkv)).view({batch, length, 3, num_heads_, width / num_heads_});
  Tensor o = ctx.empty(x.dtype(), {batch, length, num_heads_, width / num_heads_});
  Tensor stat = s ? ctx.empty(DType::f32, {batch, num_heads_, length}) : Tensor{};
  {
    auto core = ctx.scope(name_of(kind_));
    attention_forward(ctx, args(heads), o, stat);
  }
  proj_.forward(ctx, o.view({rows, width}), part(s, &Saved::proj), Activation::none, residual, y);
  if (s) s->heads = heads, s->o = o, s->stat = stat;
  return y;
}

Tensor Attention::backward(Context& ctx, const Saved& s, Tensor dy) const {
  Tensor dx = ctx.like(dy);
  auto scope = ctx.scope("attn");
  Tensor grad_o = ctx.like(s.o), grad_heads = ctx.like(s.heads);
  proj_.backward(ctx, s.proj, dy, grad_o.view(dy.shape()));
  {
    auto core = ctx.scope(name_of(kind_));
    attention_backward(ctx, args(s.heads), s.o, s.stat, grad_o, grad_heads);
  }
  qkv_.backward(ctx, s.qkv, grad_heads.view({dy.dim(0), 3 * dy.dim(1)}), dx);
  return dx;
}

// ---- Mlp -----------------------------------------------------------------------------------------------------------

Mlp::Mlp(ParamStore& store, const std::string& name, const UViCConfig& config)
    : hidden_(config.hidden()),
      fc1_(store, name + ".fc1", config.embed_dim, config.hidden(), true),
      fc2_(store, name + ".fc2", config.hidden(), config.embed_dim, true) {}

void Mlp::forward(Context& ctx, Tensor x, Tensor residual, Saved* s, Tensor y) const {
  auto scope = ctx.scope("mlp", s ? Keep::all : Keep::none);
  const Tensor pre = s ? ctx.empty(x.dtype(), {x.dim(0), hidden_}) : Tensor{};
  auto inner = ctx.scope("hidden");
  mlp_forward(ctx,
              {.x = x,
               .w1 = fc1_.weight(),
               .b1 = fc1_.bias(),
               .w2 = fc2_.weight(),
               .b2 = fc2_.bias(),
               .residual = residual,
               .prepacked1 = fc1_.prepacked(),
               .prepacked2 = fc2_.prepacked()},
              y, pre);
  if (s) *s = {x, pre};
}

Tensor Mlp::backward(Context& ctx, const Saved& s, Tensor dy) const {
  Tensor dx = ctx.like(dy);
  auto scope = ctx.scope("mlp");
  mlp_backward(ctx, {.x = s.x, .w1 = fc1_.weight(), .w2 = fc2_.weight(), .pre = s.pre}, dy, dx, fc1_.weight_grad(),
               fc1_.bias_grad(), fc2_.weight_grad(), fc2_.bias_grad());
  return dx;
}

// ---- Block ---------------------------------------------------------------------------------------------------------

Block::Block(ParamStore& store, const std::string& name, const UViCConfig& config, AttentionKind kind, bool takes_skip)
    : name_(name),
      norm1_(store, name + ".norm1", config.embed_dim),
      attn_(store, name + ".attn", config, kind),
      norm2_(store, name + ".norm2", config.embed_dim),
      mlp_(store, name + ".mlp", config) {
  if (takes_skip) skip_.emplace(store, name + ".skip_linear", config.embed_dim);
}

Tensor Block::forward(Context& ctx, int64_t batch, Tensor x, Tensor skip, Saved* s, Keep keep) const {
  Tensor y = ctx.like(x);  // first, so that it outlives the scope
  auto scope = ctx.scope(name_, s ? keep : Keep::none);
  if (skip_) x = skip_->forward(ctx, x, skip, part(s, &Saved::skip));
  Tensor middle = attn_.forward(ctx, batch, norm1_.forward(ctx, x, part(s, &Saved::norm1)), x, part(s, &Saved::attn));
  mlp_.forward(ctx, norm2_.forward(ctx, middle, part(s, &Saved::norm2)), middle, part(s, &Saved::mlp), y);
  return y;
}

void Block::backward(Context& ctx, const Saved& s, Tensor dx, Tensor dx_in, Tensor dskip) const {
  UVIC_CHECK(skip_ || dx_in.raw() == dx.raw(), "block: dx_in is not dx in a block without a skip");
  auto scope = ctx.scope(name_);
  norm2_.backward(ctx, s.norm2, mlp_.backward(ctx, s.mlp, dx), dx);
  norm1_.backward(ctx, s.norm1, attn_.backward(ctx, s.attn, dx), dx);
  if (skip_) skip_->backward(ctx, s.skip, dx, dx_in, dskip);
}

}  // namespace uvic
