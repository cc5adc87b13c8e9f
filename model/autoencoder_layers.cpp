#include "model/autoencoder_layers.h"

#include <algorithm>
#include <utility>

#include "kernels/ops/transfer.h"
#include "kernels/ops/wide_attention.h"

namespace uvic::autoencoder {
namespace {

// Of a strip: so that it is still in cache when it is convolved; and the fewest rows, of which two more are prepared
// than are convolved. A GPU is not filled by so little: 4 MB of 128 channels are 64 tiles of 128 x 128 results, for 132
// multiprocessors of an H200.
constexpr int64_t kStripBytes = 4 << 20, kGpuStripBytes = 64 << 20, kFewestRows = 8;

int64_t strip_rows(const Work& work, const FeatureMap& y, int64_t C) {
  if (work.tile > 0) return work.tile;
  return std::max(kFewestRows, strip_bytes(work.ctx) / (y.w * C * static_cast<int64_t>(sizeof(float))));
}

// Calls f(first, count) for y's strips, in a scope of its own each.
template <class F>
void for_strips(Work& work, const FeatureMap& y, int64_t C, const F& f) {
  const int64_t rows = strip_rows(work, y, C);
  for (int64_t first = 0; first < y.h; first += rows) {
    const auto scope = work.ctx.scope("strip");
    f(first, std::min(rows, y.h - first));
  }
}

PackedConv packed(const Parameters& p, const std::string& name, const Conv::Size& s) {
  const Shape shape{s.M, s.C, s.k, s.k};
  p.from.check(name + ".weight", shape);
  if (s.bias) p.from.check(name + ".bias", {s.M});
  if (!p.ctx) return {};
  const OwnedTensor w = on_device(*p.ctx, p.from.take(name + ".weight", shape));
  const OwnedTensor b = s.bias ? on_device(*p.ctx, p.from.take(name + ".bias", {s.M})) : OwnedTensor();
  const Tensor filters = s.unfolded ? w.tensor.view({s.M, s.C * s.k * s.k, 1, 1}) : w.tensor;
  return pack_conv(*p.ctx, filters, b.tensor, p.dtype);
}

}  // namespace

int64_t strip_bytes(const Context& ctx) { return ctx.device().kind == DeviceKind::cuda ? kGpuStripBytes : kStripBytes; }

GroupNorm::GroupNorm(const Parameters& p, const std::string& name, int64_t C, int64_t group_count, double epsilon)
    : groups(group_count), eps(epsilon) {
  UVIC_CHECK(C % groups == 0 && C % 16 == 0, p.from.where(), ": '", p.from.in_file(name), "' normalises ", C,
             " channels in ", groups, " groups; wanted a multiple of 16 and of the groups");
  p.from.check(name + ".weight", {C});
  p.from.check(name + ".bias", {C});
  if (!p.ctx) return;
  w = on_device(*p.ctx, p.from.take(name + ".weight", {C}));
  b = on_device(*p.ctx, p.from.take(name + ".bias", {C}));
}

Tensor GroupNorm::coefficients(Work& work, const FeatureMap& x) const {
  const Tensor c = work.ctx.empty(DType::f32, {1, 2, x.channels});
  group_norm(work.ctx, {x, w.tensor, b.tensor, groups, eps}, c);
  return c;
}

Conv::Conv(const Parameters& p, const std::string& name, const Size& size)
    : w(packed(p, name, size)), M(size.M), C(size.C), k(size.unfolded ? 1 : size.k) {}

// The input is prepared a strip at a time, with the rows above and below that the windows reach.
void Conv::forward(Work& work, const FeatureMap& x, const Before& before, FeatureMap y, const After& after) const {
  Context& ctx = work.ctx;
  const auto scope = ctx.scope("conv");
  const bool as_it_is = !before.norm && before.act == MapActivation::none && before.up == 1;
  const int64_t pad = k / 2;
  if (as_it_is && x.gap_h >= pad && x.gap_w >= pad) {
    const ConvBranch branch{&w, after.relu, y, after.add};
    return map_conv(ctx, {x, 1, pad, pad}, {&branch, 1});
  }
  const Tensor coefficients = before.norm ? before.norm->coefficients(work, x) : Tensor{};
  for_strips(work, y, C, [&](int64_t first, int64_t count) {
    const FeatureMap strip = make_feature_map(ctx, {1, count + 2 * pad, y.w, C, 0, pad, work.dtype});
    map_rows(ctx, {x, coefficients, before.act, before.up, first - pad}, strip);
    const ConvBranch branch{&w, after.relu, y.rows(first, count), after.add};
    map_conv(ctx, {strip, 1, 0, pad}, {&branch, 1});
  });
}

void Conv::halve(Work& work, const FeatureMap& x, int64_t pad, FeatureMap y) const {
  const auto scope = work.ctx.scope("halve");
  for_strips(work, y, C, [&](int64_t first, int64_t count) {
    const int64_t top = std::max<int64_t>(0, 2 * first - pad),
                  bottom = std::min(x.h, 2 * (first + count - 1) - pad + k);
    const ConvBranch branch{&w, false, y.rows(first, count)};
    map_conv(work.ctx, {x.rows(top, bottom - top), 2, top - (2 * first - pad), pad}, {&branch, 1});
  });
}

ResBlock::ResBlock(const Parameters& p, const std::string& name, int64_t C, int64_t M, int64_t groups)
    : norm1_(p, name + ".norm1", C, groups),
      norm2_(p, name + ".norm2", M, groups),
      conv1_(p, name + ".conv1", {C, M, 3}),
      conv2_(p, name + ".conv2", {M, M, 3}) {
  if (C != M) shortcut_.emplace_back(p, name + ".nin_shortcut", Conv::Size{C, M, 1});
}

void ResBlock::forward(Work& work, const FeatureMap& x, FeatureMap y) const {
  const auto scope = work.ctx.scope("block");
  const FeatureMap h = work.map(x.h, x.w, conv1_.M);
  conv1_.forward(work, x, {&norm1_, MapActivation::silu}, h);
  for (const Conv& shortcut : shortcut_) shortcut.forward(work, x, {}, y);
  conv2_.forward(work, h, {&norm2_, MapActivation::silu}, y, {.add = true});
}

AttentionBlock::AttentionBlock(const Parameters& p, const std::string& name, int64_t C, int64_t groups)
    : norm_(p, name + ".norm", C, groups),
      q_(p, name + ".q", {C, C, 1}),
      k_(p, name + ".k", {C, C, 1}),
      v_(p, name + ".v", {C, C, 1}),
      proj_(p, name + ".proj_out", {C, C, 1}) {}

void AttentionBlock::forward(Work& work, FeatureMap x) const {
  Context& ctx = work.ctx;
  const auto scope = ctx.scope("attention");
  const int64_t L = x.h * x.w, C = x.channels;
  const Shape image{1, x.h, x.w, C};
  const DType dtype = x.format() == MapFormat::bf16 ? DType::bf16 : DType::f32;
  const Tensor q = ctx.empty(dtype, {L, C}), k = ctx.empty(dtype, {L, C}), v = ctx.empty(dtype, {L, C});
  const Tensor o = ctx.empty(DType::f32, {L, C});
  {
    const auto inner = ctx.scope("qkv");
    const FeatureMap normed = work.map(x.h, x.w, C), result = work.map(x.h, x.w, C);
    map_rows(ctx, {x, norm_.coefficients(work, x)}, normed);
    for (const auto& [conv, to] : {std::pair{&q_, q}, {&k_, k}, {&v_, v}}) {
      conv->forward(work, normed, {}, result);
      to_tensor(ctx, result, to.view(image));
    }
  }
  wide_attention(ctx, {q, k, v}, o);
  const FeatureMap attended = work.map(x.h, x.w, C);
  from_tensor(ctx, o.view(image), attended);
  proj_.forward(work, attended, {}, x, {.add = true});
}

}  // namespace uvic::autoencoder
