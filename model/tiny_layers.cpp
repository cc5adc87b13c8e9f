#include "model/tiny_layers.h"

namespace uvic::autoencoder {
namespace {

constexpr int kMostLayers = 64;
constexpr int64_t kPoolGroups = 4;
constexpr double kPoolEps = 1e-5;

}  // namespace

Conv TinyBlock::conv(const Parameters& p, const std::string& name, int index) {
  const std::string full = concat(name, ".conv.", index);
  const int64_t C = p.from.shape(name + ".conv.0.weight", 4)[1];
  return Conv(p, full, {C, C, 3});
}

TinyBlock::TinyBlock(const Parameters& p, const std::string& name)
    : first_(conv(p, name, 0)), second_(conv(p, name, 2)), third_(conv(p, name, 4)) {
  if (!p.from.has(name + ".pool.0.weight")) return;
  const int64_t C = first_.C, M = p.from.shape(name + ".pool.0.weight", 4)[0];
  pool_.push_back({Conv(p, name + ".pool.0", {C, M, 1, false}),
                   GroupNorm(p, name + ".pool.1", M, kPoolGroups, kPoolEps),
                   Conv(p, name + ".pool.3", {M, C, 1, false})});
}

void TinyBlock::forward(Work& work, FeatureMap x) const {
  const auto scope = work.ctx.scope("block");
  for (const Pool& pool : pool_) {
    const auto inner = work.ctx.scope("pool");
    const FeatureMap wide = work.map(x.h, x.w, pool.in.M);
    pool.in.forward(work, x, {}, wide);
    pool.out.forward(work, wide, {&pool.norm, MapActivation::relu}, x, {.add = true});
  }
  const FeatureMap a = work.map(x.h, x.w, first_.M, 1), b = work.map(x.h, x.w, first_.M, 1);
  first_.forward(work, x, {}, a, {.relu = true});
  second_.forward(work, a, {}, b, {.relu = true});
  third_.forward(work, b, {}, x, {.relu = true, .add = true});
}

TinyHalf::TinyHalf(const Parameters& p, bool decoder) {
  int last = -1;
  for (int n = 0; n < kMostLayers; ++n)
    if (p.from.has(concat(n, ".weight"))) last = n;
  int64_t channels = 0;
  const auto expect = [&](const std::string& name, int64_t C) {
    UVIC_CHECK(C == channels, p.from.where(), ": layer '", p.from.in_file(name), "' takes ", C,
               " channels, the one before gives ", channels);
  };
  for (int n = 0; n <= last; ++n) {
    const std::string name = std::to_string(n);
    if (p.from.has(name + ".conv.0.weight")) {
      UVIC_CHECK(!steps_.empty(), p.from.where(), ": layer '", p.from.in_file(name),
                 "' is a block, wanted a convolution first");
      steps_.push_back({.block = TinyBlock(p, name)});
      expect(name, steps_.back().block->channels());
      continue;
    }
    if (!p.from.has(name + ".weight")) continue;  // what has no parameters: an activation, a resize
    const bool first = steps_.empty(), end = first || n == last;
    const Shape shape = p.from.shape(name + ".weight", 4);
    TinyStep step{.conv = Conv(p, name, {shape[1], shape[0], 3, end})};
    step.relu = decoder && first;
    step.halves = !decoder && !end;
    step.up = decoder && !end ? 2 : 1;
    if (!first) expect(name, shape[1]);
    channels = shape[0];
    if (!end) factor_ *= 2;
    steps_.push_back(std::move(step));
  }
  UVIC_CHECK(steps_.size() > 1 && steps_.back().conv, p.from.where(), ": no layers '", p.from.in_file("0"),
             "' ... of a tiny autoencoder");
  p.from.finish("");
}

// Maps lie below the scopes of their step, and so stay: a tiny autoencoder's are few.
void TinyHalf::forward(Work& work, Tensor image, Tensor result) const {
  const auto scope = work.ctx.scope("tiny");
  FeatureMap x = work.map(image.dim(2), image.dim(3), image.dim(1), 1);
  unfold(work.ctx, image, {}, x);
  for (const TinyStep& s : steps_) {
    if (s.block) {
      s.block->forward(work, x);
      continue;
    }
    const FeatureMap y =
        s.halves ? work.map(x.h / 2, x.w / 2, s.conv->M, 1) : work.map(x.h * s.up, x.w * s.up, s.conv->M, 1);
    s.halves ? s.conv->halve(work, x, 1, y) : s.conv->forward(work, x, {.up = s.up}, y, {.relu = s.relu});
    x = y;
  }
  to_planes(work.ctx, x, result);
}

}  // namespace uvic::autoencoder
