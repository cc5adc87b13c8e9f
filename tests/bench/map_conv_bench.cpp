// Convolutions of feature maps at the shapes of InceptionV3, one of each kind. All of it counts as f32: on AMX, where a
// product is three of bf16 parts, the share of the f32 peak goes far beyond 100 %.

#include "kernels/ops/map_conv.h"

#include "tests/bench/cases.h"

namespace uvic {
namespace {

struct Convolution {
  const char* name;
  int64_t C, M, side, kh, kw;
};
constexpr Convolution kConvolutions[] = {
    {"2b", 32, 64, 147, 3, 3},      {"4a", 80, 192, 73, 3, 3},      {"5b_1x1", 192, 208, 35, 1, 1},
    {"5b_5x5", 48, 64, 35, 5, 5},   {"5b_3x3", 96, 96, 35, 3, 3},   {"6c_1x1", 768, 704, 17, 1, 1},
    {"6c_1x7", 160, 160, 17, 1, 7}, {"6c_7x1", 160, 192, 17, 7, 1}, {"7c_1x1", 2048, 1344, 8, 1, 1},
    {"7c_3x3", 448, 384, 8, 3, 3},
};

FeatureMap random_map(Context& ctx, Job& job, const MapSize& size) {
  const auto scope = ctx.scope("size");
  FeatureMap map = make_feature_map(ctx, size);
  map.data = job.random(map.data.dtype(), map.data.shape());
  return map;
}

void make(Context& ctx, const Convolution& c, Job& job) {
  const int64_t pad_h = c.kh / 2, pad_w = c.kw / 2;
  const auto filters = std::make_shared<PackedConv>(
      pack_conv(ctx, job.random(DType::f32, {c.M, c.C, c.kh, c.kw}), job.random(DType::f32, {c.M})));
  const FeatureMap x = random_map(ctx, job, {kBatch, c.side, c.side, c.C, pad_h, pad_w});
  const FeatureMap y = random_map(ctx, job, {kBatch, c.side, c.side, c.M, 0, 0});
  job.flop = static_cast<double>(2 * kBatch * c.side * c.side * c.M * c.C * c.kh * c.kw);
  job.label = concat(Shape{kBatch, c.C, c.side, c.side}, " by ", Shape{c.M, c.C, c.kh, c.kw});
  job.run = [=, &ctx] {
    const ConvBranch branch{filters.get(), true, y};
    map_conv(ctx, {x, 1, pad_h, pad_w}, {&branch, 1});
  };
}

const bool registered = [] {
  for (const Convolution& c : kConvolutions)
    register_cases(concat("map_conv/", c.name), {{"inception", {}}}, f32_only(), all_isas(),
                   [c](Context& ctx, const UViCConfig&, DType, Job& job) { make(ctx, c, job); });
  return true;
}();

}  // namespace
}  // namespace uvic
