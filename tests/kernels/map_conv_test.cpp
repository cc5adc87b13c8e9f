#include "kernels/ops/map_conv.h"

#include <cstring>

#include "tests/check.h"
#include "tests/reference/map_conv.h"

namespace uvic::test {
namespace {

using reference::Images;
using reference::Sliding;

bool is_split(const Context& ctx) { return map_format(ctx, DType::f32) == MapFormat::split; }
// In split form each factor of a product lacks up to 2^-17 of itself, and the product what lo lo would have added.
double tolerance(const Context& ctx) { return is_split(ctx) ? 2e-5 : op_tolerance(DType::f32); }
// A number that is merely stored.
double storage_tolerance(const Context& ctx) { return is_split(ctx) ? 0x1p-17 : 0; }

class MapConvTest : public ::testing::TestWithParam<Where> {
 protected:
  // Maps are made of memory full of NaN: whoever reads what nobody wrote passes it on.
  MapConvTest() {
    const auto scope = ctx.scope("fill");
    fill(ctx.empty(DType::u8, {1 << 24}), 0xff);
  }
  Context ctx = context(GetParam());

  // A map with these values, from f32 images: through unfold with a window of one pixel.
  FeatureMap map_of(const Images& x, int64_t gap_h = 0, int64_t gap_w = 0, DType dtype = DType::f32) {
    const FeatureMap map = make_feature_map(ctx, {x.B, x.h, x.w, x.C, gap_h, gap_w, dtype});
    const OwnedTensor planes(host(), DType::f32, {x.B, x.C, x.h, x.w});
    for (int64_t i = 0; i < planes.tensor.numel(); ++i) {
      const int64_t c = i / (x.h * x.w) % x.C, n = i / (x.h * x.w * x.C);
      planes.tensor.data<float>()[i] = static_cast<float>(x.v[x.at(n, i / x.w % x.h, i % x.w, c)]);
    }
    unfold(ctx, planes.tensor, {}, map);
    return map;
  }
  std::vector<double> values_of(const FeatureMap& map) {
    const OwnedTensor t(host(), DType::f32, {map.B, map.h, map.w, map.channels});
    to_tensor(ctx, map, t.tensor);
    return values(t.tensor);
  }
  // What would show if gaps, or channels that nobody should touch, were read or written.
  void fill(Tensor t, int byte) {
    const OwnedTensor bytes({}, t.dtype(), t.shape());
    std::memset(bytes.tensor.raw(), byte, t.bytes());
    copy({}, bytes.tensor, ctx.device(), t);
  }
};
INSTANTIATE_TEST_SUITE_P(Everywhere, MapConvTest, ::testing::ValuesIn(everywhere_and_gpu({DType::f32})), where_name);

Images random_images(int64_t B, int64_t h, int64_t w, int64_t C, uint64_t seed) {
  return {B, h, w, C, values(random_tensor(DType::f32, {B, h, w, C}, seed).tensor)};
}

struct Case {
  int64_t B, h, w, C, M;
  Sliding s;
};
// Every kind of filter of InceptionV3 and of autoencoders, at sizes that no tile divides: one tap, borders wider than
// the image, 5x5 over a half step of channels, 1x7, 7x1, 3x3 at stride 2 with padding on every side, on none, and on
// the right and below only; more panels than a group, one channel, one image, one pixel.
const Case kCases[] = {
    {1, 1, 1, 1, 1, {1, 1, 1, 0, 0, 1, 1}},     {3, 5, 7, 27, 32, {1, 1, 1, 0, 0, 5, 7}},
    {2, 9, 11, 48, 64, {5, 5, 1, 2, 2, 9, 11}}, {2, 6, 17, 64, 48, {1, 7, 1, 0, 3, 6, 17}},
    {2, 17, 5, 32, 80, {7, 1, 1, 3, 0, 17, 5}}, {1, 12, 10, 80, 96, {3, 3, 1, 0, 0, 10, 8}},
    {2, 2, 2, 96, 33, {3, 3, 1, 1, 1, 2, 2}},   {3, 9, 9, 32, 32, {3, 3, 2, 0, 0, 4, 4}},
    {2, 8, 10, 64, 16, {3, 3, 2, 1, 1, 4, 5}},  {2, 8, 6, 64, 16, {3, 3, 2, 0, 0, 4, 3}},
    {1, 7, 5, 16, 3, {1, 1, 2, 0, 0, 4, 3}},    {1, 3, 40, 20, 3, {3, 3, 1, 1, 1, 3, 40}},
    {2, 8, 8, 192, 320, {1, 1, 1, 0, 0, 8, 8}},
};

TEST_P(MapConvTest, MatchesReference) {
  for (const Case& c : kCases) {
    SCOPED_TRACE(
        concat(Shape{c.B, c.h, c.w, c.C, c.M}, " by ", Shape{c.s.kh, c.s.kw, c.s.stride, c.s.pad_h, c.s.pad_w}));
    const Images x = random_images(c.B, c.h, c.w, c.C, 1);
    const OwnedTensor w = random_tensor(DType::f32, {c.M, c.C, c.s.kh, c.s.kw}, 2);
    const OwnedTensor b = random_tensor(DType::f32, {c.M}, 3);
    const PackedConv packed = pack_conv(ctx, w.tensor, b.tensor);
    for (const bool relu : {false, true}) {
      const auto scope = ctx.scope("case");
      const int64_t gap = c.s.stride == 1 ? 1 : 0;
      const FeatureMap from = map_of(x, c.s.pad_h, c.s.pad_w + gap);
      const FeatureMap y = make_feature_map(ctx, {c.B, c.s.h, c.s.w, c.M, 1, 2});
      const ConvBranch branch{&packed, relu, y};
      map_conv(ctx, {from, c.s.stride, c.s.pad_h, c.s.pad_w}, {&branch, 1});
      EXPECT_CLOSE_MAX(values_of(y), reference::map_conv(x, c.s, values(w.tensor), values(b.tensor), relu).v,
                       tolerance(ctx));
    }
  }
}

// Branches of one pass write into ranges of one map and into one of their own, and nothing else of either.
TEST_P(MapConvTest, BranchesWriteTheirRangesOnly) {
  const Images x = random_images(2, 5, 6, 64, 4);
  const Sliding s{1, 1, 1, 0, 0, 5, 6};
  const int64_t widths[] = {48, 16, 32};
  std::vector<OwnedTensor> w, b;
  std::vector<PackedConv> packed;
  for (const int64_t M : widths) {
    w.push_back(random_tensor(DType::f32, {M, 64, 1, 1}, static_cast<uint64_t>(M)));
    b.push_back(random_tensor(DType::f32, {M}, static_cast<uint64_t>(M) + 1));
    packed.push_back(pack_conv(ctx, w.back().tensor, b.back().tensor));
  }
  const FeatureMap all = make_feature_map(ctx, {2, 5, 6, 112, 0, 1}), own = make_feature_map(ctx, {2, 5, 6, 16, 3, 0});
  fill(all.data, 0x3f);
  const std::vector<double> before = values_of(all.range(48, 32));
  const ConvBranch branches[] = {
      {&packed[0], true, all.range(0, 48)}, {&packed[1], true, own}, {&packed[2], false, all.range(80, 32)}};
  map_conv(ctx, {.x = map_of(x)}, branches);
  const FeatureMap results[] = {branches[0].y, own, branches[2].y};
  for (size_t i = 0; i < 3; ++i)
    EXPECT_CLOSE_MAX(values_of(results[i]),
                     reference::map_conv(x, s, values(w[i].tensor), values(b[i].tensor), i < 2).v, tolerance(ctx));
  EXPECT_EQ(values_of(all.range(48, 32)), before);
  // The gap of own is still zero: a convolution that pads with it sees no edge.
  const OwnedTensor ones = tensor_of(DType::f32, {1, 16, 7, 1}, std::vector<double>(112, 1));
  const PackedConv column = pack_conv(ctx, ones.tensor, {});
  const FeatureMap sums = make_feature_map(ctx, {2, 5, 6, 1, 0, 0});
  const ConvBranch sum{&column, false, sums};
  map_conv(ctx, {own, 1, 3, 0}, {&sum, 1});
  Images own_values{2, 5, 6, 16, values_of(own)};
  EXPECT_CLOSE_MAX(values_of(sums),
                   reference::map_conv(own_values, {7, 1, 1, 3, 0, 5, 6}, values(ones.tensor), {0}, false).v,
                   tolerance(ctx));
}

// y = act(conv + b + y); and a range of rows reads its neighbours where a whole map has its gap.
TEST_P(MapConvTest, AddsToWhatIsThereAndWorksByRows) {
  const Images x = random_images(1, 9, 7, 32, 14), before = random_images(1, 9, 7, 16, 15);
  const OwnedTensor w = random_tensor(DType::f32, {16, 32, 3, 3}, 16), b = random_tensor(DType::f32, {16}, 17);
  const PackedConv packed = pack_conv(ctx, w.tensor, b.tensor);
  for (const bool relu : {false, true}) {
    const auto scope = ctx.scope("case");
    std::vector<double> want =
        reference::map_conv(x, {3, 3, 1, 1, 1, 9, 7}, values(w.tensor), values(b.tensor), false).v;
    for (size_t i = 0; i < want.size(); ++i) {
      want[i] += before.v[i];
      if (relu) want[i] = std::max(0.0, want[i]);
    }
    const FeatureMap from = map_of(x, 1, 1), y = map_of(before, 2, 0);
    for (const auto& [begin, count] : {std::pair<int64_t, int64_t>{0, 4}, {4, 3}, {7, 2}}) {
      const ConvBranch branch{&packed, relu, y.rows(begin, count), true};
      map_conv(ctx, {from.rows(begin, count), 1, 1, 1}, {&branch, 1});
    }
    EXPECT_CLOSE_MAX(values_of(y), want, tolerance(ctx));
  }
}

// Every number is rounded to bf16 where the format is kept, and nowhere else.
TEST_P(MapConvTest, Bf16MapsMatchReference) {
  for (const Case& c : kCases) {
    SCOPED_TRACE(concat(Shape{c.B, c.h, c.w, c.C, c.M}));
    const auto scope = ctx.scope("case");
    Images x = random_images(c.B, c.h, c.w, c.C, 18);
    const OwnedTensor w = random_tensor(DType::bf16, {c.M, c.C, c.s.kh, c.s.kw}, 19);
    const OwnedTensor weights = tensor_of(DType::f32, w.tensor.shape(), values(w.tensor));
    for (double& v : x.v) v = to_float(to_bf16(static_cast<float>(v)));
    const PackedConv packed = pack_conv(ctx, weights.tensor, {}, DType::bf16);
    const int64_t gap = c.s.stride == 1 ? 1 : 0;
    const FeatureMap from = map_of(x, c.s.pad_h, c.s.pad_w + gap, DType::bf16);
    const bool kept = GetParam().device.kind == DeviceKind::cuda || ctx.isa() == Isa::amx;
    EXPECT_EQ(from.format(), kept ? MapFormat::bf16 : MapFormat::f32);
    const FeatureMap y = make_feature_map(ctx, {c.B, c.s.h, c.s.w, c.M, 1, 2, DType::bf16});
    const ConvBranch branch{&packed, false, y};
    map_conv(ctx, {from, c.s.stride, c.s.pad_h, c.s.pad_w}, {&branch, 1});
    const std::vector<double> none(static_cast<size_t>(c.M));
    EXPECT_CLOSE_MAX(values_of(y), reference::map_conv(x, c.s, values(weights.tensor), none, false).v,
                     op_tolerance(kept ? DType::bf16 : DType::f32));
  }
}

// The same filters, twice, into different images of one map.
TEST_P(MapConvTest, BranchesMayWriteToDifferentImages) {
  const Images x = random_images(1, 4, 5, 32, 12);
  const OwnedTensor w = random_tensor(DType::f32, {16, 32, 1, 1}, 13);
  const PackedConv packed = pack_conv(ctx, w.tensor, {});
  const FeatureMap y = make_feature_map(ctx, {2, 4, 5, 16, 0, 0});
  const ConvBranch branches[] = {{&packed, true, y.images(1, 1)}, {&packed, true, y.images(0, 1)}};
  map_conv(ctx, {.x = map_of(x)}, branches);
  EXPECT_EQ(values_of(y.images(0, 1)), values_of(y.images(1, 1)));
}

// On a GPU the number of images may change the order in which a library sums.
TEST_P(MapConvTest, AnImageDependsOnNoOther) {
  const Images x = random_images(5, 17, 17, 32, 6);
  const OwnedTensor w = random_tensor(DType::f32, {48, 32, 1, 7}, 7);
  const PackedConv packed = pack_conv(ctx, w.tensor, {});
  const auto run = [&](const FeatureMap& from) {
    const FeatureMap y = make_feature_map(ctx, {from.B, 17, 17, 48, 0, 0});
    const ConvBranch branch{&packed, true, y};
    map_conv(ctx, {from, 1, 0, 3}, {&branch, 1});
    return values_of(y);
  };
  const FeatureMap all = map_of(x, 0, 3);
  const std::vector<double> together = run(all), alone = run(all.images(3, 1));
  const auto begin = together.begin() + static_cast<std::ptrdiff_t>(3 * alone.size());
  const std::vector<double> there(begin, begin + static_cast<std::ptrdiff_t>(alone.size()));
  if (GetParam().device.kind == DeviceKind::cuda) {
    EXPECT_CLOSE_MAX(there, alone, tolerance(ctx));
  } else {
    EXPECT_EQ(there, alone);
  }
}

TEST_P(MapConvTest, PoolsMatchReference) {
  const Images x = random_images(2, 9, 7, 48, 8);
  const std::vector<double> b = values(random_tensor(DType::f32, {48}, 9).tensor);
  const OwnedTensor bias = tensor_of(DType::f32, {48}, b);
  for (const Sliding& s : {Sliding{3, 3, 1, 1, 1, 9, 7}, {3, 3, 2, 0, 0, 4, 3}, {2, 5, 1, 0, 2, 8, 7}}) {
    const FeatureMap from = map_of(x, 1, 1), y = make_feature_map(ctx, {2, s.h, s.w, 48, 0, 0});
    const Window window{s.kh, s.kw, s.stride, s.pad_h, s.pad_w};
    max_pool(ctx, from, window, y);
    EXPECT_CLOSE_MAX(values_of(y), reference::max_pool(x, s).v, storage_tolerance(ctx));
    average_pool(ctx, from, window, bias.tensor, y);
    EXPECT_CLOSE_MAX(values_of(y), reference::average_pool(x, s, b).v,
                     op_tolerance(DType::f32) + storage_tolerance(ctx));
  }
}

TEST_P(MapConvTest, SpatialMeanMatchesReference) {
  const Images x = random_images(3, 6, 13, 40, 10);
  std::vector<double> want(3 * 40);
  for (size_t i = 0; i < x.v.size(); ++i) want[i / (6 * 13 * 40) * 40 + i % 40] += x.v[i] / (6 * 13);
  const OwnedTensor mean(host(), DType::f32, {3, 40});
  spatial_mean(ctx, map_of(x, 2, 1), mean.tensor);
  EXPECT_CLOSE_MAX(values(mean.tensor), want, 4 * tolerance(ctx));
}

TEST_P(MapConvTest, UnfoldMatchesDefinition) {
  const OwnedTensor image = random_tensor(DType::f32, {2, 3, 7, 6}, 11);
  const FeatureMap y = make_feature_map(ctx, {2, 4, 3, 27, 0, 0});
  unfold(ctx, image.tensor, {3, 3, 2, 1, 1}, y);
  std::vector<double> want;
  for (int64_t n = 0; n < 2; ++n)
    for (int64_t p = 0; p < 12; ++p)
      for (int64_t k = 0; k < 27; ++k) {
        const int64_t row = p / 3 * 2 - 1 + k / 3 % 3, column = p % 3 * 2 - 1 + k % 3;
        const bool inside = row >= 0 && row < 7 && column >= 0 && column < 6;
        want.push_back(inside ? at(image.tensor, ((n * 3 + k / 9) * 7 + row) * 6 + column) : 0);
      }
  EXPECT_CLOSE_MAX(values_of(y), want, storage_tolerance(ctx));
}

TEST_P(MapConvTest, RefusesWrongArguments) {
  const PackedConv filters = pack_conv(ctx, random_tensor(DType::f32, {16, 32, 3, 3}, 1).tensor, {});
  const PackedConv narrow = pack_conv(ctx, random_tensor(DType::f32, {16, 48, 1, 3}, 1).tensor, {});
  const FeatureMap x = make_feature_map(ctx, {2, 8, 8, 32, 0, 1}), y = make_feature_map(ctx, {2, 8, 8, 16, 0, 0});
  const FeatureMap other = make_feature_map(ctx, {1, 8, 8, 16, 0, 0}),
                   wide = make_feature_map(ctx, {2, 8, 8, 96, 1, 1});
  const auto error = [&](const FeatureMap& from, const PackedConv& w, const FeatureMap& to, int64_t stride = 1) {
    const ConvBranch branch{&w, true, to};
    return error_of([&] { map_conv(ctx, {from, stride, 1, 1}, {&branch, 1}); });
  };
  EXPECT_EQ(error(x, filters, y), "map_conv: windows of 3 reach 1 rows out of x, whose gap is 0");
  EXPECT_EQ(error(y, filters, other), "map_conv: x and w disagree on C: 16 against 32");
  EXPECT_EQ(error(x, filters, other), "map_conv: y is [1, 8, 8], wanted [2, 8, 8]");
  EXPECT_EQ(error(x, filters, x), "map_conv: y and w disagree on M: 32 against 16");
  EXPECT_EQ(error(wide.range(0, 32), filters, wide.range(32, 16)), "map_conv: y lies in the map of x");
  EXPECT_EQ(
      error(wide.range(0, 48), narrow, y),
      "map_conv: 48 channels of a map of 96 at stride 1, wanted the whole of it at stride 1, or a multiple of 32");
  const PackedConv one = pack_conv(ctx, random_tensor(DType::f32, {16, 32, 1, 1}, 1).tensor, {});
  EXPECT_EQ(error(wide.range(0, 32), one, y), "map_conv: padding 1, 1 is as wide as the window, 1 x 1");
  EXPECT_EQ(error(x, filters, y, 3), "map_conv: stride 3, padding 1, 1; wanted stride 1 or 2");
  EXPECT_EQ(error_of([&] {
              max_pool(ctx, x, {3, 3, 2}, y);
            }),
            "max_pool: y is 8 x 8, but at stride 2 its last windows lie outside of x, 8 x 8");
  EXPECT_EQ(error_of([&] { x.range(16, 32); }), "FeatureMap::range: channels 16 to 48 of 32");
}

}  // namespace
}  // namespace uvic::test
