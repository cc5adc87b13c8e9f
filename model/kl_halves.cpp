#include "model/kl_halves.h"

#include <algorithm>

#include "kernels/ops/pointwise.h"

namespace uvic::autoencoder {
namespace {

constexpr double kLogVarMin = -30, kLogVarMax = 20;

KlLevel make_level(const Parameters& p, const std::string& name, const std::string& resize, int64_t in,
                   int64_t groups) {
  KlLevel level{.in = in, .width = p.from.shape(name + ".block.0.conv1.weight", 4)[0]};
  const int64_t blocks = p.from.count(name + ".block.", ".conv1.weight");
  const bool attends = p.from.has(name + ".attn.0.norm.weight");
  for (int64_t j = 0; j < blocks; ++j) {
    level.blocks.emplace_back(p, concat(name, ".block.", j), j == 0 ? in : level.width, level.width, groups);
    if (attends) level.attention.emplace_back(p, concat(name, ".attn.", j), level.width, groups);
  }
  if (!resize.empty()) level.resize.emplace_back(p, name + resize, Conv::Size{level.width, level.width, 3});
  return level;
}

int64_t count_levels(const Source& from, const std::string& prefix) {
  const int64_t n = from.count(prefix, ".block.0.conv1.weight");
  UVIC_CHECK(n >= 1 && n <= 8, from.where(), ": ", n, " levels '", from.in_file(prefix + "0"), "' ..., wanted 1 to 8");
  return n;
}

std::vector<KlLevel> down_levels(const Parameters& p, int64_t groups) {
  const int64_t n = count_levels(p.from, "encoder.down.");
  int64_t C = p.from.shape("encoder.conv_in.weight", 4)[0];
  std::vector<KlLevel> levels;
  for (int64_t i = 0; i < n; ++i) {
    levels.push_back(make_level(p, concat("encoder.down.", i), i + 1 < n ? ".downsample.conv" : "", C, groups));
    C = levels.back().width;
  }
  return levels;
}

std::vector<KlLevel> up_levels(const Parameters& p, int64_t groups) {
  const int64_t n = count_levels(p.from, "decoder.up.");
  int64_t C = p.from.shape("decoder.conv_in.weight", 4)[0];
  std::vector<KlLevel> levels(static_cast<size_t>(n));
  for (int64_t i = n; i-- > 0;) {
    KlLevel& level = levels[static_cast<size_t>(i)];
    level = make_level(p, concat("decoder.up.", i), i > 0 ? ".upsample.conv" : "", C, groups);
    C = level.width;
  }
  return levels;
}

// A convolution of one pixel that not every file has.
std::vector<Conv> optional_conv(const Parameters& p, const std::string& name) {
  std::vector<Conv> convs;
  if (!p.from.has(name + ".weight")) return convs;
  const Shape s = p.from.shape(name + ".weight", 4);
  convs.emplace_back(p, name, Conv::Size{s[1], s[0], 1});
  return convs;
}

FeatureMap windows(Work& work, Tensor image, int64_t k) {
  const FeatureMap map = work.map(image.dim(2), image.dim(3), image.dim(1) * k * k);
  unfold(work.ctx, image, {k, k, 1, k / 2, k / 2}, map);
  return map;
}

}  // namespace

void KlLevel::forward(Work& work, const FeatureMap& x, FeatureMap y) const {
  for (size_t j = 0; j < blocks.size(); ++j) {
    blocks[j].forward(work, j == 0 ? x : y, y);
    if (!attention.empty()) attention[j].forward(work, y);
  }
}

KlMiddle::KlMiddle(const Parameters& p, const std::string& name, int64_t C, int64_t groups)
    : block_1(p, name + ".block_1", C, C, groups),
      block_2(p, name + ".block_2", C, C, groups),
      attention(p, name + ".attn_1", C, groups) {}

void KlMiddle::forward(Work& work, FeatureMap x) const {
  const auto scope = work.ctx.scope("mid");
  block_1.forward(work, x, x);
  attention.forward(work, x);
  block_2.forward(work, x, x);
}

KlEncoder::KlEncoder(const Parameters& p, int64_t groups)
    : conv_in(p, "encoder.conv_in", {3, p.from.shape("encoder.conv_in.weight", 4)[0], 3, true, true}),
      levels(down_levels(p, groups)),
      mid(p, "encoder.mid", levels.back().width, groups),
      norm_out(p, "encoder.norm_out", levels.back().width, groups),
      conv_out(p, "encoder.conv_out", {levels.back().width, p.from.shape("encoder.conv_out.weight", 4)[0], 3}),
      quant(optional_conv(p, "quant_conv")) {
  UVIC_CHECK(quant.empty() || quant[0].C == conv_out.M, p.from.where(), ": quant_conv takes ", quant[0].C,
             " channels, the encoder gives ", conv_out.M);
  p.from.finish("encoder.");
}

void KlEncoder::forward(Work& work, Tensor image, Tensor moments) const {
  const auto scope = work.ctx.scope("encoder");
  const int64_t h = moments.dim(2), w = moments.dim(3);
  const FeatureMap out = work.map(h, w, conv_out.M);
  {
    const auto inner = work.ctx.scope("levels");
    FeatureMap x = work.map(image.dim(2), image.dim(3), conv_in.M);
    {
      const auto stem = work.ctx.scope("conv_in");
      conv_in.forward(work, windows(work, image, 3), {}, x);
    }
    for (const KlLevel& level : levels) {
      const FeatureMap y = level.in_place() ? x : work.map(x.h, x.w, level.width);
      level.forward(work, x, y);
      x = y;
      for (const Conv& down : level.resize) {
        x = work.map(y.h / 2, y.w / 2, level.width);
        down.halve(work, y, 0, x);
      }
    }
    mid.forward(work, x);
    conv_out.forward(work, x, {&norm_out, MapActivation::silu}, out);
  }
  FeatureMap result = out;
  for (const Conv& conv : quant) {
    result = work.map(h, w, conv.M);
    conv.forward(work, out, {}, result);
  }
  to_planes(work.ctx, result, moments);
  const int64_t C = moments.dim(1) / 2;
  clamp(work.ctx, kLogVarMin, kLogVarMax, moments.view({2 * C, h, w}).rows(C, 2 * C));
}

KlDecoder::KlDecoder(const Parameters& p, int64_t groups)
    : post_quant(optional_conv(p, "post_quant_conv")),
      conv_in(p, "decoder.conv_in",
              {post_quant.empty() ? p.from.shape("decoder.conv_in.weight", 4)[1] : post_quant[0].M,
               p.from.shape("decoder.conv_in.weight", 4)[0], 3}),
      mid(p, "decoder.mid", conv_in.M, groups),
      levels(up_levels(p, groups)),
      norm_out(p, "decoder.norm_out", levels[0].width, groups),
      conv_out(p, "decoder.conv_out", {levels[0].width, 3, 3}) {
  p.from.finish("decoder.");
}

void KlDecoder::start(Work& work, Tensor z, FeatureMap y) const {
  {
    const auto scope = work.ctx.scope("conv_in");
    FeatureMap x = windows(work, z, 1);
    for (const Conv& conv : post_quant) {
      const FeatureMap mixed = work.map(x.h, x.w, conv.M);
      conv.forward(work, x, {}, mixed);
      x = mixed;
    }
    conv_in.forward(work, x, {}, y);
  }
  mid.forward(work, y);
}

// What the level below made is magnified into this one's input, and dropped: it lies on top of the stack. So at full
// size there are never more than the output, the input, and what a block keeps or what lies below.
void KlDecoder::level(Work& work, Tensor z, size_t i, FeatureMap y) const {
  const auto scope = work.ctx.scope("up");
  const KlLevel& here = levels[i];
  const bool lowest = i + 1 == levels.size();
  const FeatureMap below = lowest ? FeatureMap{} : work.map(y.h / 2, y.w / 2, levels[i + 1].width);
  if (!lowest) level(work, z, i + 1, below);
  const FeatureMap x = here.in_place() ? y : work.map(y.h, y.w, here.in);
  lowest ? start(work, z, x) : levels[i + 1].resize[0].forward(work, below, {.up = 2}, x);
  here.forward(work, x, y);
}

// What level i allocates beside its result, when that has h x w pixels.
int64_t KlDecoder::numbers_of(size_t i, int64_t h, int64_t w) const {
  const KlLevel& here = levels[i];
  const int64_t block = h * w * (here.width + (here.in_place() ? 0 : here.in));
  if (i + 1 == levels.size()) return block;
  return h / 2 * (w / 2) * levels[i + 1].width + std::max(block, numbers_of(i + 1, h / 2, w / 2));
}

void KlDecoder::forward(Work& work, Tensor z, Tensor image) const {
  const auto scope = work.ctx.scope("decoder");
  {
    // An arena that has to grow takes more than it is asked for, so it is asked once: for the strip, what comes of it
    // and what a library works in, too.
    const auto room = work.ctx.scope("room");
    const int64_t h = image.dim(2), w = image.dim(3), each = work.dtype == DType::bf16 ? 2 : 4;
    const int64_t numbers = h * w * (16 + levels[0].width) + numbers_of(0, h, w);
    work.ctx.arena().allocate(static_cast<size_t>(numbers * each + 4 * strip_bytes(work.ctx)));
  }
  const FeatureMap out = work.map(image.dim(2), image.dim(3), 3);
  {
    const auto inner = work.ctx.scope("levels");
    const FeatureMap y = work.map(image.dim(2), image.dim(3), levels[0].width);
    level(work, z, 0, y);
    conv_out.forward(work, y, {&norm_out, MapActivation::silu}, out);
  }
  to_planes(work.ctx, out, image);
}

}  // namespace uvic::autoencoder
