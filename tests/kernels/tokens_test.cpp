#include "kernels/ops/tokens.h"

#include "tests/gradcheck.h"

namespace uvic::test {
namespace {

class TokensTest : public ::testing::TestWithParam<Where> {
 protected:
  DType dtype() const { return GetParam().dtype; }
  OwnedTensor tensor(Shape shape) const { return {host(), dtype(), shape}; }
  OwnedTensor random(Shape shape, uint64_t seed) const { return random_tensor(dtype(), shape, seed); }
  Context ctx = context(GetParam());
};
INSTANTIATE_TEST_SUITE_P(Everywhere, TokensTest, ::testing::ValuesIn(everywhere_and_gpu()), where_name);

double rounded(double x, DType dtype) {
  return dtype == DType::f32 ? static_cast<float>(x) : double(to_float(to_bf16(static_cast<float>(x))));
}

struct Image {
  int64_t B, C, h, w, p;
  int64_t n() const { return (h / p) * (w / p); }
  int64_t width() const { return C * p * p; }
  Shape shape() const { return {B, C, h, w}; }
};
constexpr Image kImages[] = {{1, 1, 1, 1, 1}, {2, 3, 4, 6, 2}, {3, 4, 8, 4, 4}, {2, 3, 9, 6, 3}, {11, 3, 32, 32, 2}};

// Calls f(image index, token row, element with the channel slowest, element with the channel fastest).
template <class F>
void for_each_pixel(const Image& s, const F& f) {
  for (int64_t b = 0; b < s.B; ++b)
    for (int64_t c = 0; c < s.C; ++c)
      for (int64_t y = 0; y < s.h; ++y)
        for (int64_t x = 0; x < s.w; ++x) {
          const int64_t patch = (y / s.p) * (s.w / s.p) + x / s.p, inner = (y % s.p) * s.p + x % s.p;
          f(((b * s.C + c) * s.h + y) * s.w + x, b, patch, c * s.p * s.p + inner, inner * s.C + c);
        }
}

TEST_P(TokensTest, PatchifyPutsChannelsSlowestAndBackwardUndoesIt) {
  for (const Image& s : kImages) {
    SCOPED_TRACE(concat(s.shape(), " p ", s.p));
    const OwnedTensor image = random_tensor(DType::f32, s.shape(), 1), patches = random({s.B, s.n(), s.width()}, 2);
    patchify(ctx, image.tensor, int(s.p), patches.tensor);
    for_each_pixel(s, [&](int64_t i, int64_t b, int64_t patch, int64_t slow, int64_t) {
      ASSERT_EQ(at(patches.tensor, (b * s.n() + patch) * s.width() + slow), rounded(at(image.tensor, i), dtype()));
    });
    const OwnedTensor dimage = random_tensor(DType::f32, s.shape(), 3);
    patchify_backward(ctx, patches.tensor, int(s.p), dimage.tensor);
    for (int64_t i = 0; i < dimage.tensor.numel(); ++i)
      ASSERT_EQ(at(dimage.tensor, i), rounded(at(image.tensor, i), dtype()));
  }
}

TEST_P(TokensTest, UnpatchifyPutsChannelsFastestAndDropsTheFirstTokens) {
  for (const Image& s : kImages)
    for (const int64_t extra : {int64_t{0}, int64_t{2}})
      for (const DType image_dtype : {DType::f32, DType::bf16}) {
        SCOPED_TRACE(concat(s.shape(), " p ", s.p, " extra ", extra, " ", image_dtype));
        const int64_t L = s.n() + extra;
        const OwnedTensor tokens = random({s.B, L, s.width()}, 1), image = random_tensor(image_dtype, s.shape(), 2);
        unpatchify(ctx, tokens.tensor, int(s.p), image.tensor);
        for_each_pixel(s, [&](int64_t i, int64_t b, int64_t patch, int64_t, int64_t fast) {
          const double want = at(tokens.tensor, (b * L + extra + patch) * s.width() + fast);
          ASSERT_EQ(at(image.tensor, i), rounded(want, image_dtype));
        });
        const OwnedTensor dtokens = random({s.B, L, s.width()}, 3);
        unpatchify_backward(ctx, image.tensor, int(s.p), dtokens.tensor);
        for (int64_t i = 0; i < dtokens.tensor.numel(); ++i) {
          const bool dropped = i / s.width() % L < extra;
          const double want = dropped ? 0 : rounded(rounded(at(tokens.tensor, i), image_dtype), dtype());
          ASSERT_EQ(at(dtokens.tensor, i), want) << i;
        }
      }
}

// dim 7, and what the released code computes for it in f32. Its exp is another one: a frequency may differ in its last
// bit, which moves an angle of 46 (t = 1000) by 4e-6.
TEST_P(TokensTest, TimestepEmbeddingIsTheReleasedOne) {
  const OwnedTensor t = tensor_of(DType::f32, {5}, {0, 0.5, 1, 100, 1000});
  const std::vector<std::vector<double>> rows = {
      {1, 1, 1, 0, 0, 0, 0},
      {0.87758255, 0.999730706, 0.999999464, 0.47942555, 0.0232058614, 0.00107721717, 0},
      {0.540302336, 0.998922944, 0.999997675, 0.841470957, 0.0463992245, 0.00215443317, 0},
      {0.862318873, -0.0707411543, 0.976881683, -0.506365657, -0.997494698, 0.213780671, 0},
      {0.562379062, -0.759661496, -0.551063657, 0.826879561, 0.650318682, 0.834463239, 0},
  };
  const OwnedTensor out = random({5, 7}, 1);
  timestep_embedding(ctx, t.tensor, out.tensor);
  for (int64_t b = 0; b < 5; ++b)
    EXPECT_CLOSE_MAX(values(out.tensor.rows(b, b + 1)), rows[size_t(b)], std::max(1e-5, op_tolerance(dtype())));
}

TEST_P(TokensTest, TimestepEmbeddingFollowsItsFormula) {
  for (const int64_t d : {2, 3, 16, 65, 512}) {
    const OwnedTensor t = tensor_of(DType::f32, {3}, {0.25, 37.625, 999}), out = random({3, d}, 1);
    timestep_embedding(ctx, t.tensor, out.tensor);
    for (int64_t b = 0; b < 3; ++b)
      for (int64_t i = 0; i < d; ++i) {
        const int64_t half = d / 2;
        const double angle = at(t.tensor, b) * std::exp(-std::log(10000.0) * double(i % half) / double(half));
        const double want = i < half ? std::cos(angle) : i < 2 * half ? std::sin(angle) : 0;
        // f32 angles up to 999 are known to 6e-5.
        ASSERT_NEAR(at(out.tensor, b * d + i), want, 1e-4 + op_tolerance(dtype())) << b << " " << i;
      }
  }
}

TEST_P(TokensTest, EmbeddingTakesRowsAndItsGradientAddsThem) {
  const OwnedTensor table = random({5, 19}, 1), out = random({4, 19}, 2), dout = random({4, 19}, 3);
  const OwnedTensor index = tensor_of(DType::i32, {4}, {4, 0, 4, 2}), dtable = random_tensor(DType::f32, {5, 19}, 4);
  embedding_forward(ctx, table.tensor, index.tensor, out.tensor);
  auto want = values(dtable.tensor);
  for (int64_t b = 0; b < 4; ++b)
    for (int64_t i = 0; i < 19; ++i) {
      const auto row = int64_t(at(index.tensor, b));
      EXPECT_EQ(at(out.tensor, b * 19 + i), at(table.tensor, row * 19 + i));
      want[size_t(row * 19 + i)] += at(dout.tensor, b * 19 + i);
    }
  embedding_backward(ctx, index.tensor, dout.tensor, dtable.tensor);
  EXPECT_CLOSE_MAX(values(dtable.tensor), want, op_tolerance(DType::f32));
}

TEST_P(TokensTest, EmbeddingRefusesAnIndexOutsideTheTable) {
  const OwnedTensor table = random({5, 3}, 1), out = random({2, 3}, 2), dtable = random_tensor(DType::f32, {5, 3}, 3);
  if (ctx.device().kind == DeviceKind::cuda) {
    for (const double bad : {-1.0, 5.0}) {
      const OwnedTensor index = tensor_of(DType::i32, {2}, {0, bad}), dout = random({2, 3}, 4);
      embedding_forward(ctx, table.tensor, index.tensor, out.tensor);
      auto want = values(dtable.tensor);
      for (int64_t i = 0; i < 3; ++i) {
        EXPECT_EQ(at(out.tensor, i), at(table.tensor, i));
        EXPECT_TRUE(std::isnan(at(out.tensor, 3 + i)));
        want[size_t(i)] += at(dout.tensor, i);
      }
      embedding_backward(ctx, index.tensor, dout.tensor, dtable.tensor);
      EXPECT_CLOSE_MAX(values(dtable.tensor), want, op_tolerance(DType::f32));
    }
    return;
  }
  for (const double bad : {-1.0, 5.0}) {
    const OwnedTensor index = tensor_of(DType::i32, {2}, {0, bad});
    const std::string what = concat(": index[1] is ", bad, ", the table has 5 rows");
    EXPECT_EQ(error_of([&] { embedding_forward(ctx, table.tensor, index.tensor, out.tensor); }),
              "embedding_forward" + what);
    EXPECT_EQ(error_of([&] { embedding_backward(ctx, index.tensor, out.tensor, dtable.tensor); }),
              "embedding_backward" + what);
  }
}

TEST_P(TokensTest, PlaceTakeAndPositionGradient) {
  const int64_t B = 3, n = 70, L = 75, d = 173, first = 4;
  const OwnedTensor src = random({B, n, d}, 1), pos = random({L, d}, 2), x = random({B, L, d}, 3);
  const auto before = values(x.tensor);
  place_tokens(ctx, src.tensor, pos.tensor, first, x.tensor);
  for (int64_t b = 0; b < B; ++b)
    for (int64_t l = 0; l < L; ++l)
      for (int64_t i = 0; i < d; ++i) {
        const int64_t to = (b * L + l) * d + i;
        const bool inside = l >= first && l < first + n;
        const double want =
            inside ? rounded(at(src.tensor, (b * n + l - first) * d + i) + at(pos.tensor, l * d + i), dtype())
                   : before[size_t(to)];
        ASSERT_EQ(at(x.tensor, to), want) << b << " " << l << " " << i;
      }
  const OwnedTensor dsrc = random({B, n, d}, 4);
  take_tokens(ctx, x.tensor, first, dsrc.tensor);
  for (int64_t b = 0; b < B; ++b)
    for (int64_t i = 0; i < n * d; ++i)
      ASSERT_EQ(at(dsrc.tensor, b * n * d + i), at(x.tensor, (b * L + first) * d + i));

  const OwnedTensor dpos = random_tensor(DType::f32, {L, d}, 5);
  auto want = values(dpos.tensor);
  for (int64_t b = 0; b < B; ++b)
    for (int64_t i = 0; i < L * d; ++i) want[size_t(i)] += at(x.tensor, b * L * d + i);
  position_backward(ctx, x.tensor, dpos.tensor);
  EXPECT_CLOSE_MAX(values(dpos.tensor), want, op_tolerance(DType::f32));
}

// Every backward here is the transpose of its forward, so <forward(x), r> must equal <x, backward(r)>; differences of
// forward say the same without trusting that it is linear.
TEST_P(TokensTest, GradientsAgreeWithDifferences) {
  const Image s{2, 3, 4, 6, 2};
  const OwnedTensor image = random_tensor(DType::f32, s.shape(), 1), dimage(host(), DType::f32, s.shape());
  const Shape tokens_shape{s.B, s.n(), s.width()};
  const OwnedTensor tokens = random_tensor(DType::f32, tokens_shape, 2), r = random_tensor(DType::f32, tokens_shape, 3);
  patchify_backward(ctx, r.tensor, 2, dimage.tensor);
  const auto patchified = [&] {
    patchify(ctx, image.tensor, 2, tokens.tensor);
    return projection(tokens.tensor, r.tensor);
  };
  EXPECT_GRADIENT((Variable{"image", image.tensor, dimage.tensor}), patchified, 1e-4);

  const OwnedTensor dtokens(host(), DType::f32, tokens_shape), made(host(), DType::f32, s.shape());
  unpatchify_backward(ctx, image.tensor, 2, dtokens.tensor);
  const auto unpatchified = [&] {
    unpatchify(ctx, tokens.tensor, 2, made.tensor);
    return projection(made.tensor, image.tensor);
  };
  EXPECT_GRADIENT((Variable{"tokens", tokens.tensor, dtokens.tensor}), unpatchified, 1e-4);

  const OwnedTensor table = random_tensor(DType::f32, {4, 5}, 4), dtable(host(), DType::f32, {4, 5});
  const OwnedTensor rows(host(), DType::f32, {3, 5}), index = tensor_of(DType::i32, {3}, {3, 1, 3});
  const OwnedTensor drows = random_tensor(DType::f32, {3, 5}, 5);
  embedding_backward(ctx, index.tensor, drows.tensor, dtable.tensor);
  const auto embedded = [&] {
    embedding_forward(ctx, table.tensor, index.tensor, rows.tensor);
    return projection(rows.tensor, drows.tensor);
  };
  EXPECT_GRADIENT((Variable{"table", table.tensor, dtable.tensor}), embedded, 1e-4);

  const OwnedTensor src = random_tensor(DType::f32, {2, 3, 5}, 6), pos = random_tensor(DType::f32, {3, 5}, 7);
  const OwnedTensor x(host(), DType::f32, {2, 3, 5}), dx = random_tensor(DType::f32, {2, 3, 5}, 8);
  const OwnedTensor dsrc(host(), DType::f32, {2, 3, 5}), dpos(host(), DType::f32, {3, 5});
  take_tokens(ctx, dx.tensor, 0, dsrc.tensor);
  position_backward(ctx, dx.tensor, dpos.tensor);
  const auto placed = [&] {
    place_tokens(ctx, src.tensor, pos.tensor, 0, x.tensor);
    return projection(x.tensor, dx.tensor);
  };
  EXPECT_GRADIENT((Variable{"src", src.tensor, dsrc.tensor}), placed, 1e-4);
  EXPECT_GRADIENT((Variable{"pos", pos.tensor, dpos.tensor}), placed, 1e-4);
}

TEST_P(TokensTest, RefusesWrongArguments) {
  const OwnedTensor image(host(), DType::f32, {1, 3, 4, 6}), patches = tensor({1, 6, 12}), wide = tensor({1, 6, 13});
  const OwnedTensor few = tensor({1, 5, 12}), pos = tensor({6, 12}), t(host(), DType::f32, {2}),
                    narrow = tensor({2, 1});
  const OwnedTensor f64(host(), DType::f64, {1, 6, 12}), index(host(), DType::f32, {1});
  const std::string name = name_of(dtype());
  EXPECT_EQ(error_of([&] { patchify(ctx, image.tensor, 4, patches.tensor); }),
            "patchify: image [1, 3, 4, 6] does not divide into patches of 4");
  EXPECT_EQ(error_of([&] { patchify(ctx, image.tensor, 0, patches.tensor); }),
            "patchify: image [1, 3, 4, 6] does not divide into patches of 0");
  EXPECT_EQ(error_of([&] { patchify_backward(ctx, wide.tensor, 2, image.tensor); }),
            "patchify_backward: dpatches is " + name + " [1, 6, 13], wanted " + name + " [1, 6, 12]");
  EXPECT_EQ(error_of([&] { unpatchify(ctx, few.tensor, 2, image.tensor); }),
            "unpatchify: tokens [1, 5, 12] has fewer tokens than image [1, 3, 4, 6] has patches, 6");
  EXPECT_EQ(error_of([&] { unpatchify_backward(ctx, image.tensor, 2, f64.tensor); }),
            "unpatchify_backward: dtokens is f64, wanted f32 or bf16");
  EXPECT_EQ(error_of([&] { timestep_embedding(ctx, t.tensor, narrow.tensor); }),
            "timestep_embedding: out is [2, 1], wanted a width of 2 or more");
  EXPECT_EQ(error_of([&] { embedding_forward(ctx, pos.tensor, index.tensor, narrow.tensor); }),
            "embedding_forward: index is f32, wanted i32");
  EXPECT_EQ(error_of([&] { place_tokens(ctx, few.tensor, pos.tensor, 2, patches.tensor); }),
            "place_tokens: tokens [2, 7) lie outside x [1, 6, 12]");
  EXPECT_EQ(error_of([&] { take_tokens(ctx, patches.tensor, -1, few.tensor); }),
            "take_tokens: tokens [-1, 4) lie outside dx [1, 6, 12]");
  EXPECT_EQ(error_of([&] { position_backward(ctx, patches.tensor, t.tensor); }),
            "position_backward: dpos is f32 [2], wanted f32 [6, 12]");
}

}  // namespace
}  // namespace uvic::test
