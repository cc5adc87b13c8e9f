#include "model/layers.h"

#include "kernels/ops/conv.h"
#include "kernels/ops/norm.h"
#include "model/config.h"

namespace uvic {

// ---- Linear --------------------------------------------------------------------------------------------------------

Linear::Linear(ParamStore& store, const std::string& name, int64_t in, int64_t out, bool bias)
    : store_(&store),
      out_(out),
      weight_(store.add_linear(name + ".weight", out, in)),
      bias_(bias ? store.add(name + ".bias", {out}, Init::zeros) : -1) {}

Tensor Linear::weight() const { return store_->value(weight_); }
Tensor Linear::bias() const { return bias_ < 0 ? Tensor{} : store_->value(bias_); }
Tensor Linear::prepacked() const { return store_->prepacked(weight_); }
Tensor Linear::weight_grad() const { return store_->grad(weight_); }
Tensor Linear::bias_grad() const { return bias_ < 0 ? Tensor{} : store_->grad(bias_); }

Tensor Linear::forward(Context& ctx, Tensor x, Saved* s, Activation act, Tensor residual, Tensor y) const {
  if (y.empty()) y = ctx.empty(x.dtype(), {x.dim(0), out_});
  const Tensor pre = s && act != Activation::none ? ctx.like(y) : Tensor{};
  linear_forward(ctx, {x, weight(), bias(), residual, act, prepacked()}, y, pre);
  if (s) *s = {x, pre};
  return y;
}

void Linear::backward(Context& ctx, const Saved& s, Tensor dy, Tensor dx, Activation x_act, Tensor x_pre) const {
  linear_backward(ctx, {s.x, weight(), x_act, x_pre}, dy, dx, weight_grad(), bias_grad());
}

// ---- SkipLinear ----------------------------------------------------------------------------------------------------

SkipLinear::SkipLinear(ParamStore& store, const std::string& name, int64_t width)
    : store_(&store),
      weight_(store.add_linear(name + ".weight", width, width, 2)),
      bias_(store.add(name + ".bias", {width}, Init::zeros)) {}

Tensor SkipLinear::forward(Context& ctx, Tensor x, Tensor skip, Saved* s) const {
  Tensor y = ctx.like(x);
  skip_linear_forward(ctx, {x, skip, store_->value(weight_), store_->value(bias_), store_->prepacked(weight_)}, y);
  if (s) *s = {x, skip};
  return y;
}

void SkipLinear::backward(Context& ctx, const Saved& s, Tensor dy, Tensor dx, Tensor dskip) const {
  skip_linear_backward(ctx, {s.x, s.skip, store_->value(weight_), store_->value(bias_), {}}, dy, dx, dskip,
                       store_->grad(weight_), store_->grad(bias_));
}

// ---- LayerNorm -----------------------------------------------------------------------------------------------------

LayerNorm::LayerNorm(ParamStore& store, const std::string& name, int64_t width)
    : store_(&store),
      weight_(store.add(name + ".weight", {width}, Init::ones)),
      bias_(store.add(name + ".bias", {width}, Init::zeros)) {}

Tensor LayerNorm::forward(Context& ctx, Tensor x, Saved* s) const {
  Tensor y = ctx.like(x);
  Tensor stats = s ? ctx.empty(DType::f32, {x.dim(0), 2}) : Tensor{};
  layernorm_forward(ctx, {x, store_->value(weight_), store_->value(bias_), UViCConfig::kNormEps}, y, stats);
  if (s) *s = {x, stats};
  return y;
}

void LayerNorm::backward(Context& ctx, const Saved& s, Tensor dy, Tensor dx) const {
  layernorm_backward(ctx, {s.x, store_->value(weight_), store_->value(bias_), UViCConfig::kNormEps}, s.stats, dy, dx,
                     store_->grad(weight_), store_->grad(bias_));
}

// ---- Conv3x3 -------------------------------------------------------------------------------------------------------

Conv3x3::Conv3x3(ParamStore& store, const std::string& name, int64_t channels)
    : store_(&store),
      weight_(store.add(name + ".weight", {channels, channels, 3, 3}, Init::uniform_fan_in, 9 * channels)),
      bias_(store.add(name + ".bias", {channels}, Init::uniform_fan_in, 9 * channels)) {}

void Conv3x3::forward(Context& ctx, Tensor x, Saved* s, Tensor y) const {
  conv2d_forward(ctx, {x, store_->value(weight_), store_->value(bias_)}, y);
  if (s) *s = {x};
}

void Conv3x3::backward(Context& ctx, const Saved& s, Tensor dy, Tensor dx) const {
  conv2d_backward(ctx, {s.x, store_->value(weight_), store_->value(bias_)}, dy, dx, store_->grad(weight_),
                  store_->grad(bias_));
}

}  // namespace uvic
