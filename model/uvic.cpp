#include "model/uvic.h"

#include <algorithm>
#include <cmath>

#include "kernels/ops/pointwise.h"
#include "kernels/ops/update.h"

namespace uvic {
namespace {

std::vector<Block> make_blocks(ParamStore& store, const UViCConfig& config, std::vector<int64_t>& begins) {
  std::vector<Block> blocks;
  const int half = config.depth / 2;
  for (int i = 0; i < config.blocks(); ++i) {
    const std::string name = i < half    ? concat("in_blocks.", i)
                             : i == half ? std::string("mid_block")
                                         : concat("out_blocks.", i - half - 1);
    begins.push_back(store.size());
    blocks.emplace_back(store, name, config, config.kind(i), i > half && config.skip);
  }
  begins.push_back(store.size());
  return blocks;
}

}  // namespace

UViC::UViC(ParamStore& store, const UViCConfig& config)
    : config_((validate(config), config)),
      embed_(store, config),
      blocks_(make_blocks(store, config, begins_)),
      head_(store, config) {
  begins_.push_back(store.size());
}

void UViC::check(Tensor image, Tensor t, const Conditions& conditions, Tensor out) const {
  const UViCConfig& c = config_;
  UVIC_CHECK(image.rank() == 4 && image.dim(1) == c.in_chans && image.dim(2) == c.img_size &&
                 image.dim(3) == c.img_size && image.dtype() == DType::f32,
             "uvic: image ", image.shape(), " ", image.dtype(), " is not [B, ", c.in_chans, ", ", c.img_size, ", ",
             c.img_size, "] f32");
  UVIC_CHECK(out.shape() == image.shape(), "uvic: out ", out.shape(), " against image ", image.shape());
  const int64_t batch = image.dim(0);
  UVIC_CHECK(t.shape() == Shape({batch}), "uvic: t ", t.shape(), " for a batch of ", batch);
  UVIC_CHECK(conditions.y.empty() == (c.num_classes <= 0), "uvic: this model ",
             c.num_classes > 0 ? "needs a label for every image" : "takes no labels");
  UVIC_CHECK(conditions.context.empty() == (c.num_clip_token == 0), "uvic: this model ",
             c.num_clip_token > 0 ? "needs a context for every image" : "takes no context");
  if (conditions.y) {
    UVIC_CHECK(conditions.y.shape() == Shape({batch}), "uvic: y ", conditions.y.shape(), " for a batch of ", batch);
  }
  if (conditions.context) {
    const Shape want{batch, c.num_clip_token, c.clip_dim};
    UVIC_CHECK(conditions.context.shape() == want, "uvic: context ", conditions.context.shape(), " is not ", want);
  }
}

void UViC::forward(Context& ctx, Tensor image, Tensor t, const Conditions& conditions, Tensor out, Saved* saved) const {
  check(image, t, conditions, out);
  auto scope = ctx.scope("uvic", saved ? Keep::all : Keep::none);
  const int64_t batch = image.dim(0);
  const bool keeps = saved && !saved->recompute;
  if (saved) {
    saved->blocks.resize(keeps ? blocks_.size() : 0);
    saved->tokens.clear();
  }
  std::vector<Tensor> tokens{embed_.forward(ctx, image, t, conditions, part(saved, &Saved::embed))};
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const Tensor skip = blocks_[i].takes_skip() ? tokens[skip_source(i) + 1] : Tensor{};
    Block::Saved gone;  // what inference does without may round in another place
    Block::Saved* kept = keeps ? &saved->blocks[i] : saved ? &gone : nullptr;
    tokens.push_back(blocks_[i].forward(ctx, batch, tokens[i], skip, kept, keeps ? Keep::all : Keep::none));
  }
  head_.forward(ctx, batch, tokens.back(), part(saved, &Saved::head), out);
  if (saved) saved->tokens = std::move(tokens);
}

void UViC::backward(Context& ctx, const Saved& saved, Tensor dout, Tensor dimage, Tensor dcontext,
                    const GradientsDone& done) const {
  auto scope = ctx.scope("uvic.backward");
  const size_t half = static_cast<size_t>(config_.depth) / 2;
  Tensor dx = head_.backward(ctx, saved.head, dout);
  if (done) done(begins_[blocks_.size()], begins_.back());
  std::vector<Tensor> dskips(half);  // by in-block
  for (size_t i = blocks_.size(); i-- > 0;) {
    if (i < half && dskips[i]) accumulate(ctx, dskips[i], dx);
    Tensor dx_in = dx, dskip, skip;
    if (blocks_[i].takes_skip()) {
      dx_in = ctx.like(dx);
      dskip = dskips[skip_source(i)] = ctx.like(dx);
      skip = saved.tokens[skip_source(i) + 1];
    }
    if (saved.recompute) {
      auto again = ctx.scope("recompute");
      Block::Saved made;
      blocks_[i].forward(ctx, dout.dim(0), saved.tokens[i], skip, &made);
      blocks_[i].backward(ctx, made, dx, dx_in, dskip);
    } else {
      blocks_[i].backward(ctx, saved.blocks[i], dx, dx_in, dskip);
    }
    dx = dx_in;
    if (done) done(begins_[i], begins_[i + 1]);
  }
  embed_.backward(ctx, saved.embed, dx, dimage, dcontext);
  if (done) done(0, begins_[0]);
}

std::string UViC::first_not_finite(Context& ctx, Tensor image, const Saved& saved, Tensor out) const {
  const auto finite = [&](Tensor t) {
    auto scope = ctx.scope("finite");
    Tensor wide = ctx.empty(DType::f32, {t.numel()});
    cast(ctx, t.view(wide.shape()), wide);
    return std::isfinite(squared_norm(ctx, wide));  // in double, where squares of floats do not overflow
  };
  if (!finite(image)) return "image";
  for (size_t i = 0; i < saved.tokens.size(); ++i)
    if (!finite(saved.tokens[i])) return i == 0 ? "embed" : blocks_[i - 1].name();
  return finite(out) ? "" : "head";
}

void start_scores_at(Context& ctx, ParamStore& store, const UViCConfig& config, double score) {
  UVIC_CHECK(score > 0 && config.qkv_bias, "attention can start at a score of ", score,
             " only if that is positive and qkv has a bias");
  OwnedTensor host({}, DType::f32, {3 * int64_t{config.embed_dim}});
  int block = 0;
  for (size_t id = 0; id < store.params().size(); ++id) {
    if (!store.params()[id].name.ends_with(".attn.qkv.bias")) continue;
    const bool unscaled = config.kind(block++) == AttentionKind::expressive;
    const double scale = config.qk_scale > 0 ? config.qk_scale : unscaled ? 1 : 1 / std::sqrt(config.head_dim());
    const int64_t qk = 2 * int64_t{config.embed_dim};
    std::fill_n(host.tensor.data<float>(), qk, static_cast<float>(std::sqrt(score / (scale * config.head_dim()))));
    for (const Role role : {Role::working, Role::master, Role::ema, Role::ema1, Role::ema2, Role::ema3})
      if (store.flat(role)) store.set(ctx, role, static_cast<int>(id), host.tensor);
  }
}

}  // namespace uvic
