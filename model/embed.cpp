#include "model/embed.h"

#include "kernels/ops/pointwise.h"
#include "kernels/ops/tokens.h"

namespace uvic {
namespace {

// x in the working dtype: itself, or a rounded copy in the arena.
Tensor in_dtype(Context& ctx, Tensor x, DType dtype) {
  if (x.dtype() == dtype) return x;
  Tensor y = ctx.empty(dtype, x.shape());
  cast(ctx, x, y);
  return y;
}

}  // namespace

// ---- Embed ---------------------------------------------------------------------------------------------------------

// Parameters are added in the order of the released state_dict: its optimizer files count them by position.
Embed::Embed(ParamStore& store, const UViCConfig& config) : config_(config), store_(&store) {
  const int64_t d = config.embed_dim, p = config.patch_size, c = config.in_chans;
  pos_embed_ = store.add("pos_embed", {1, config.tokens(), d}, Init::normal_002);
  patch_weight_ = store.add("patch_embed.proj.weight", {d, c, p, p}, Init::uniform_fan_in, c * p * p);
  patch_bias_ = store.add("patch_embed.proj.bias", {d}, Init::uniform_fan_in, c * p * p);
  if (config.mlp_time_embed) {
    time1_.emplace(store, "time_embed.0", d, 4 * d, true);
    time2_.emplace(store, "time_embed.2", 4 * d, d, true);
  }
  if (config.num_classes > 0) label_ = store.add("label_emb.weight", {config.num_classes, d}, Init::normal_1);
  if (config.num_clip_token > 0) context_.emplace(store, "context_embed", config.clip_dim, d, true);
}

Tensor Embed::time_token(Context& ctx, Tensor t, Saved* s) const {
  Tensor sinusoid = ctx.empty(DType::f32, {t.dim(0), config_.embed_dim});
  timestep_embedding(ctx, t, sinusoid);
  Tensor token = in_dtype(ctx, sinusoid, store_->dtype());
  if (!time1_) return token;
  token = time1_->forward(ctx, token, part(s, &Saved::time1), Activation::silu);
  return time2_->forward(ctx, token, part(s, &Saved::time2));
}

Tensor Embed::forward(Context& ctx, Tensor image, Tensor t, const Conditions& conditions, Saved* s) const {
  const DType dtype = store_->dtype();
  const int64_t batch = image.dim(0), d = config_.embed_dim, n = config_.patches();
  const int64_t pixels = int64_t{config_.in_chans} * config_.patch_size * config_.patch_size;
  Tensor x = ctx.empty(dtype, {batch, config_.tokens(), d});
  auto scope = ctx.scope("embed", s ? Keep::all : Keep::none);
  const Tensor pos = store_->value(pos_embed_).view({config_.tokens(), d});
  const auto place = [&](Tensor tokens, int64_t count, int64_t first) {
    place_tokens(ctx, tokens.view({batch, count, d}), pos, first, x);
  };

  place(time_token(ctx, t, s), 1, time_position());
  if (label_ >= 0) {
    Tensor label = ctx.empty(dtype, {batch, d});
    embedding_forward(ctx, store_->value(label_), conditions.y, label);
    place(label, 1, 0);
    if (s) s->y = conditions.y;
  }
  if (context_) {
    const Tensor rows = conditions.context.view({batch * config_.num_clip_token, config_.clip_dim});
    place(context_->forward(ctx, in_dtype(ctx, rows, dtype), part(s, &Saved::context)), config_.num_clip_token, 1);
  }
  Tensor patches = ctx.empty(dtype, {batch, n, pixels}), tokens = ctx.empty(dtype, {batch * n, d});
  patchify(ctx, image, config_.patch_size, patches);
  patches = patches.view({batch * n, pixels});
  linear_forward(ctx, {patches, store_->value(patch_weight_).view({d, pixels}), store_->value(patch_bias_), {}, {}},
                 tokens);
  place(tokens, n, config_.extras());
  if (s) s->patches = {patches, {}};
  return x.view({batch * config_.tokens(), d});
}

void Embed::backward(Context& ctx, const Saved& s, Tensor dtokens, Tensor dimage, Tensor dcontext) const {
  auto scope = ctx.scope("embed");
  const DType dtype = store_->dtype();
  const int64_t d = config_.embed_dim, n = config_.patches(), batch = dtokens.dim(0) / config_.tokens();
  const Tensor dx = dtokens.view({batch, config_.tokens(), d});
  const auto take = [&](int64_t count, int64_t first) {
    Tensor part = ctx.empty(dtype, {batch, count, d});
    take_tokens(ctx, dx, first, part);
    return part.view({batch * count, d});
  };

  position_backward(ctx, dx, store_->grad(pos_embed_).view({config_.tokens(), d}));
  if (time1_) {
    Tensor hidden = ctx.like(s.time2.x);
    time2_->backward(ctx, s.time2, take(1, time_position()), hidden, Activation::silu, s.time1.pre);
    time1_->backward(ctx, s.time1, hidden, {});
  }
  if (label_ >= 0) embedding_backward(ctx, s.y, take(1, 0), store_->grad(label_));
  if (context_) {
    Tensor drows = dcontext.empty() ? Tensor{} : ctx.like(s.context.x);
    context_->backward(ctx, s.context, take(config_.num_clip_token, 1), drows);
    if (drows) cast(ctx, drows.view(dcontext.shape()), dcontext);
  }
  const int64_t pixels = s.patches.x.dim(1);
  Tensor dpatches = dimage.empty() ? Tensor{} : ctx.like(s.patches.x);
  linear_backward(ctx, {s.patches.x, store_->value(patch_weight_).view({d, pixels})}, take(n, config_.extras()),
                  dpatches, store_->grad(patch_weight_).view({d, pixels}), store_->grad(patch_bias_));
  if (dpatches) patchify_backward(ctx, dpatches.view({batch, n, pixels}), config_.patch_size, dimage);
}

// ---- Head ----------------------------------------------------------------------------------------------------------

Head::Head(ParamStore& store, const UViCConfig& config)
    : config_(config),
      norm_(store, "norm", config.embed_dim),
      decoder_(store, "decoder_pred", config.embed_dim,
               int64_t{config.patch_size} * config.patch_size * config.in_chans, true) {
  if (config.conv) conv_.emplace(store, "final_layer", config.in_chans);
}

void Head::forward(Context& ctx, int64_t batch, Tensor tokens, Saved* s, Tensor image) const {
  auto scope = ctx.scope("head", s ? Keep::all : Keep::none);
  Tensor x = norm_.forward(ctx, tokens, part(s, &Saved::norm));
  Tensor pixels = decoder_.forward(ctx, x, part(s, &Saved::decoder));
  pixels = pixels.view({batch, config_.tokens(), pixels.dim(1)});
  if (!conv_) return unpatchify(ctx, pixels, config_.patch_size, image);
  Tensor raw = ctx.empty(tokens.dtype(), image.shape());
  unpatchify(ctx, pixels, config_.patch_size, raw);
  conv_->forward(ctx, raw, part(s, &Saved::conv), image);
}

Tensor Head::backward(Context& ctx, const Saved& s, Tensor dimage) const {
  Tensor dtokens = ctx.like(s.norm.x);
  auto scope = ctx.scope("head");
  const DType dtype = dtokens.dtype();
  if (conv_) {
    Tensor draw = ctx.empty(dtype, dimage.shape());
    conv_->backward(ctx, s.conv, dimage, draw);
    dimage = draw;
  }
  const int64_t rows = s.decoder.x.dim(0), pixels = int64_t{config_.patch_size} * config_.patch_size * config_.in_chans;
  Tensor dpixels = ctx.empty(dtype, {rows / config_.tokens(), config_.tokens(), pixels});
  unpatchify_backward(ctx, dimage, config_.patch_size, dpixels);
  Tensor dx = ctx.like(s.decoder.x);
  decoder_.backward(ctx, s.decoder, dpixels.view({rows, pixels}), dx);
  zero(ctx, dtokens);
  norm_.backward(ctx, s.norm, dx, dtokens);
  return dtokens;
}

}  // namespace uvic
