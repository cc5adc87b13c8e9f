#include "kernels/ops/map_norm.h"

#include <cstring>

#include "tests/check.h"

namespace uvic::test {
namespace {

class MapNormTest : public ::testing::TestWithParam<Where> {
 protected:
  // Maps are made of memory full of NaN: whoever reads what nobody wrote passes it on.
  MapNormTest() {
    const auto scope = ctx.scope("fill");
    const Tensor all = ctx.empty(DType::u8, {1 << 22});
    const OwnedTensor bytes({}, all.dtype(), all.shape());
    std::memset(bytes.tensor.raw(), 0xff, all.bytes());
    copy({}, bytes.tensor, ctx.device(), all);
  }
  FeatureMap map_of(Tensor x, int64_t gap = 0) {
    const FeatureMap map = make_feature_map(ctx, {x.dim(0), x.dim(1), x.dim(2), x.dim(3), gap, gap, GetParam().dtype});
    from_tensor(ctx, x, map);
    return map;
  }
  std::vector<double> values_of(const FeatureMap& map) {
    const OwnedTensor t(host(), DType::f32, {map.B, map.h, map.w, map.channels});
    to_tensor(ctx, map, t.tensor);
    return values(t.tensor);
  }
  // How near a number comes that the map stores.
  double tolerance(const FeatureMap& map) const {
    return map.format() == MapFormat::bf16 ? 0x1p-8 : map.format() == MapFormat::split ? 0x1p-17 + 1e-6 : 2e-6;
  }
  Context ctx = context(GetParam());
};
INSTANTIATE_TEST_SUITE_P(Everywhere, MapNormTest, ::testing::ValuesIn(everywhere_and_gpu()), where_name);

struct Norm {
  std::vector<double> scale, shift;  // [B, C]
};
Norm reference_norm(const std::vector<double>& x, int64_t B, int64_t pixels, int64_t C, int64_t groups, double eps,
                    const std::vector<double>& w, const std::vector<double>& b) {
  Norm n{std::vector<double>(static_cast<size_t>(B * C)), std::vector<double>(static_cast<size_t>(B * C))};
  for (int64_t i = 0; i < B; ++i)
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t each = C / groups;
      double mean = 0, var = 0;
      const auto for_each = [&](const auto& f) {
        for (int64_t p = 0; p < pixels; ++p)
          for (int64_t c = g * each; c < (g + 1) * each; ++c) f(x[static_cast<size_t>((i * pixels + p) * C + c)]);
      };
      for_each([&](double v) { mean += v / static_cast<double>(pixels * each); });
      for_each([&](double v) { var += (v - mean) * (v - mean) / static_cast<double>(pixels * each); });
      for (int64_t c = g * each; c < (g + 1) * each; ++c) {
        const auto at = static_cast<size_t>(i * C + c), k = static_cast<size_t>(c);
        n.scale[at] = w[k] / std::sqrt(var + eps);
        n.shift[at] = b[k] - mean * n.scale[at];
      }
    }
  return n;
}

// Groups of one channel and of many; more rows than a piece of sums, and widths no vector divides; a mean that is ten
// deviations away.
TEST_P(MapNormTest, GroupNormMatchesReference) {
  struct Case {
    int64_t B, h, w, C, groups;
  };
  for (const Case& c : {Case{1, 1, 1, 32, 32}, {2, 19, 5, 64, 32}, {1, 9, 37, 48, 3}, {3, 4, 4, 256, 4}}) {
    SCOPED_TRACE(concat(Shape{c.B, c.h, c.w, c.C, c.groups}));
    const auto scope = ctx.scope("case");
    const OwnedTensor x = random_tensor(DType::f32, {c.B, c.h, c.w, c.C}, 1);
    std::vector<double> shifted = values(x.tensor);
    for (double& v : shifted) v += 5;
    assign(x.tensor, shifted);
    const OwnedTensor w = random_tensor(DType::f32, {c.C}, 2), b = random_tensor(DType::f32, {c.C}, 3);
    const FeatureMap map = map_of(x.tensor, 1);
    const OwnedTensor got(host(), DType::f32, {c.B, 2, c.C});
    group_norm(ctx, {map, w.tensor, b.tensor, c.groups, 1e-5}, got.tensor);
    const Norm want =
        reference_norm(values_of(map), c.B, c.h * c.w, c.C, c.groups, 1e-5, values(w.tensor), values(b.tensor));
    std::vector<double> scale, shift;
    for (int64_t n = 0; n < c.B; ++n)
      for (int64_t i = 0; i < c.C; ++i) {
        scale.push_back(at(got.tensor, n * 2 * c.C + i));
        shift.push_back(at(got.tensor, (n * 2 + 1) * c.C + i));
      }
    EXPECT_CLOSE_MAX(scale, want.scale, 1e-5);
    EXPECT_CLOSE_MAX(shift, want.shift, 1e-5);
  }
}

double activated(double v, MapActivation act) {
  return act == MapActivation::relu ? std::max(0.0, v) : act == MapActivation::silu ? v / (1 + std::exp(-v)) : v;
}

TEST_P(MapNormTest, RowsMatchReference) {
  constexpr int64_t h = 5, w = 6, C = 32;
  const OwnedTensor x = random_tensor(DType::f32, {1, h, w, C}, 4, 3), both = random_tensor(DType::f32, {1, 2, C}, 5);
  const FeatureMap map = map_of(x.tensor, 1);
  const std::vector<double> from = values_of(map), norm = values(both.tensor);
  for (const auto act : {MapActivation::none, MapActivation::relu, MapActivation::silu})
    for (const bool affine : {false, true})
      for (const int64_t up : {1, 2}) {
        const int64_t first = -2, rows = up * h + 3;  // zeros above and below
        SCOPED_TRACE(concat(static_cast<int>(act), ' ', affine, ' ', up));
        const auto scope = ctx.scope("case");
        const FeatureMap y = make_feature_map(ctx, {1, rows, up * w, C, 0, 2, GetParam().dtype});
        map_rows(ctx, {map, affine ? both.tensor : Tensor{}, act, up, first}, y);
        std::vector<double> want(static_cast<size_t>(rows * up * w * C));
        for (int64_t i = 0; i < up * h; ++i)
          for (int64_t j = 0; j < up * w; ++j)
            for (int64_t c = 0; c < C; ++c) {
              const double v = from[static_cast<size_t>((i / up * w + j / up) * C + c)];
              const auto k = static_cast<size_t>(c);
              want[static_cast<size_t>(((i - first) * up * w + j) * C + c)] =
                  activated(affine ? norm[k] * v + norm[static_cast<size_t>(C) + k] : v, act);
            }
        EXPECT_CLOSE_MAX(values_of(y), want, tolerance(y));
      }
}

// Channels that fill no vector; the gap on the right is still zero, and is no pixel of the next row.
TEST_P(MapNormTest, FewChannelsAndGaps) {
  const OwnedTensor x = random_tensor(DType::f32, {1, 4, 3, 3}, 6);
  const FeatureMap map = map_of(x.tensor), y = make_feature_map(ctx, {1, 6, 3, 3, 0, 1, GetParam().dtype});
  map_rows(ctx, {.x = map, .first = -1}, y);
  std::vector<double> want(6 * 3 * 3);
  const std::vector<double> from = values_of(map);
  std::copy(from.begin(), from.end(), want.begin() + 9);
  EXPECT_EQ(values_of(y), want);
  const OwnedTensor planes(host(), DType::f32, {1, 3, 6, 3});
  to_planes(ctx, y, planes.tensor);
  settle();
  for (int64_t c = 0; c < 3; ++c)
    for (int64_t p = 0; p < 18; ++p) EXPECT_EQ(at(planes.tensor, c * 18 + p), want[static_cast<size_t>(p * 3 + c)]);
}

TEST_P(MapNormTest, RefusesWrongArguments) {
  const FeatureMap x = make_feature_map(ctx, {1, 4, 4, 32, 0, 0, GetParam().dtype});
  const FeatureMap narrow = make_feature_map(ctx, {1, 4, 4, 16, 0, 0, GetParam().dtype});
  const OwnedTensor w(host(), DType::f32, {32}), c(host(), DType::f32, {1, 2, 32});
  EXPECT_EQ(error_of([&] {
              group_norm(ctx, {x, w.tensor, w.tensor, 5}, c.tensor);
            }),
            "group_norm: 32 channels in 5 groups, wanted a multiple of 16 and of the groups");
  EXPECT_EQ(error_of([&] {
              group_norm(ctx, {narrow, w.tensor, w.tensor, 4}, c.tensor);
            }),
            "group_norm: w is f32 [32], wanted f32 [16]");
  EXPECT_EQ(error_of([&] { map_rows(ctx, {.x = x}, narrow); }),
            "map_rows: y is [4, 4, 16], wanted 1 times the pixels of x, [4, 4, 32], in its format");
  EXPECT_EQ(error_of([&] { map_rows(ctx, {.x = x}, x); }), "map_rows: y lies in the map of x");
}

}  // namespace
}  // namespace uvic::test
