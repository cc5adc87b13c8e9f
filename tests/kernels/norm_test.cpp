#include "kernels/ops/norm.h"

#include "tests/gradcheck.h"
#include "tests/reference/norm.h"

namespace uvic::test {
namespace {

struct Size {
  int64_t N, C;
};
// One element, one vector and less, ragged tails, more rows than one piece, and a real layer.
constexpr Size kSizes[] = {{1, 1}, {3, 7}, {5, 16}, {2, 33}, {65, 48}, {130, 515}, {2056, 512}};

struct Case {
  Case(Size s, DType dtype)
      : x(random_tensor(dtype, {s.N, s.C}, 1, 2)),
        w(random_tensor(dtype, {s.C}, 2)),
        b(random_tensor(dtype, {s.C}, 3)),
        dy(random_tensor(dtype, {s.N, s.C}, 4)),
        args{x.tensor, w.tensor, b.tensor},
        reference{s.N, s.C, 1e-5, values(x.tensor), values(w.tensor), values(b.tensor)} {}

  OwnedTensor x, w, b, dy;
  LayerNormArgs args;
  reference::LayerNorm reference;
};

// What both passes of one call wrote, beginning from zero.
struct Result {
  Result(Context& ctx, const Case& c) {
    const Shape rows = c.x.tensor.shape(), channels = c.w.tensor.shape();
    const OwnedTensor y(host(), c.x.tensor.dtype(), rows), stats(host(), DType::f32, {rows[0], 2});
    const OwnedTensor dx(host(), c.x.tensor.dtype(), rows), dw(host(), DType::f32, channels),
        db(host(), DType::f32, channels);
    layernorm_forward(ctx, c.args, y.tensor, stats.tensor);
    layernorm_backward(ctx, c.args, stats.tensor, c.dy.tensor, dx.tensor, dw.tensor, db.tensor);
    all = {values(y.tensor), values(stats.tensor), values(dx.tensor), values(dw.tensor), values(db.tensor)};
  }
  std::vector<std::vector<double>> all;
};

class LayerNormTest : public ::testing::TestWithParam<Where> {
 protected:
  DType dtype() const { return GetParam().dtype; }
  double tolerance() const { return op_tolerance(dtype()); }
  Context ctx = context(GetParam());
};
INSTANTIATE_TEST_SUITE_P(Everywhere, LayerNormTest, ::testing::ValuesIn(everywhere_and_gpu()), where_name);

TEST_P(LayerNormTest, ForwardMatchesReference) {
  for (const Size s : kSizes) {
    SCOPED_TRACE(concat("N ", s.N, " C ", s.C));
    const Case c(s, dtype());
    const OwnedTensor y = random_tensor(dtype(), {s.N, s.C}, 9), without_stats = random_tensor(dtype(), {s.N, s.C}, 8);
    const OwnedTensor stats = random_tensor(DType::f32, {s.N, 2}, 7);
    layernorm_forward(ctx, c.args, y.tensor, stats.tensor);
    EXPECT_CLOSE_MAX(values(y.tensor), reference::layernorm_forward(c.reference), tolerance());
    std::vector<double> want;
    for (int64_t n = 0; n < s.N; ++n) {
      want.push_back(c.reference.mean(n));
      want.push_back(c.reference.inverse_deviation(n));
    }
    EXPECT_CLOSE_MAX(values(stats.tensor), want, op_tolerance(DType::f32));  // f32 whatever x is
    layernorm_forward(ctx, c.args, without_stats.tensor);
    EXPECT_EQ(values(without_stats.tensor), values(y.tensor));
  }
}

TEST_P(LayerNormTest, BackwardAddsTheReferenceGradients) {
  for (const Size s : kSizes) {
    SCOPED_TRACE(concat("N ", s.N, " C ", s.C));
    const Case c(s, dtype());
    const OwnedTensor y(host(), dtype(), {s.N, s.C}), stats(host(), DType::f32, {s.N, 2});
    layernorm_forward(ctx, c.args, y.tensor, stats.tensor);
    const OwnedTensor dx = random_tensor(dtype(), {s.N, s.C}, 5), dw = random_tensor(DType::f32, {s.C}, 6),
                      db = random_tensor(DType::f32, {s.C}, 7);
    auto want = reference::layernorm_backward(c.reference, values(c.dy.tensor));
    const auto add_start = [](std::vector<double>& to, Tensor start) {
      for (size_t i = 0; i < to.size(); ++i) to[i] += at(start, static_cast<int64_t>(i));
    };
    add_start(want.dx, dx.tensor);
    add_start(want.dw, dw.tensor);
    add_start(want.db, db.tensor);
    const auto dy_before = values(c.dy.tensor);
    layernorm_backward(ctx, c.args, stats.tensor, c.dy.tensor, dx.tensor, dw.tensor, db.tensor);
    EXPECT_CLOSE_MAX(values(dx.tensor), want.dx, tolerance());
    EXPECT_CLOSE_MAX(values(dw.tensor), want.dw, op_tolerance(DType::f32));
    EXPECT_CLOSE_MAX(values(db.tensor), want.db, op_tolerance(DType::f32));
    EXPECT_EQ(values(c.dy.tensor), dy_before);
  }
}

// A mean a thousand times the deviation: E[x^2] - mean^2 would lose every digit of the variance.
TEST_P(LayerNormTest, LargeMeanDoesNotCancel) {
  Case c({4, 512}, DType::f32);
  for (int64_t i = 0; i < c.x.tensor.numel(); ++i) c.x.tensor.data<float>()[i] += 1000;
  c.reference.x = values(c.x.tensor);
  const OwnedTensor y(host(), DType::f32, {4, 512});
  layernorm_forward(ctx, c.args, y.tensor);
  EXPECT_CLOSE_MAX(values(y.tensor), reference::layernorm_forward(c.reference), 2e-4);
}

TEST_P(LayerNormTest, SameBitsAtAnyNumberOfThreadsAndOnAnyInstructionSet) {
  const Case c({200, 77}, dtype());
  const Result here(ctx, c);
  for (const int threads : {1, 2, 3, 5}) {
    Context other({.device = GetParam().device, .threads = threads, .isa = Isa::avx2});
    EXPECT_EQ(Result(other, c).all, here.all) << threads << " threads";
  }
}

TEST_P(LayerNormTest, GivesScratchBack) {
  const Case c({130, 40}, dtype());
  const Arena::Mark before = ctx.arena().mark();
  const Result once(ctx, c);
  EXPECT_EQ(ctx.arena().mark(), before);
}

TEST_P(LayerNormTest, GradientsAgreeWithDifferences) {
  const Case c({6, 40}, DType::f32);
  const OwnedTensor y(host(), DType::f32, {6, 40}), stats(host(), DType::f32, {6, 2});
  const OwnedTensor dx(host(), DType::f32, {6, 40}), dw(host(), DType::f32, {40}), db(host(), DType::f32, {40});
  layernorm_forward(ctx, c.args, y.tensor, stats.tensor);
  layernorm_backward(ctx, c.args, stats.tensor, c.dy.tensor, dx.tensor, dw.tensor, db.tensor);
  const auto loss = [&] {
    layernorm_forward(ctx, c.args, y.tensor);
    return projection(y.tensor, c.dy.tensor);
  };
  EXPECT_GRADIENT((Variable{"x", c.x.tensor, dx.tensor}), loss, 1e-4);
  EXPECT_GRADIENT((Variable{"w", c.w.tensor, dw.tensor}), loss, 1e-4);
  EXPECT_GRADIENT((Variable{"b", c.b.tensor, db.tensor}), loss, 1e-4);
}

TEST_P(LayerNormTest, RefusesWrongArguments) {
  const Case c({3, 8}, dtype());
  const OwnedTensor y(host(), dtype(), {3, 8}), narrow(host(), dtype(), {3, 7}), stats(host(), DType::f32, {3, 2});
  const OwnedTensor dw(host(), DType::f32, {8}), short_dw(host(), DType::f32, {7}), other(host(), DType::f64, {3, 8});
  const auto forward = [&](const LayerNormArgs& a, Tensor to, Tensor s) {
    return error_of([&] { layernorm_forward(ctx, a, to, s); });
  };
  const std::string name = name_of(dtype());
  EXPECT_EQ(forward(c.args, narrow.tensor, {}),
            "layernorm_forward: y is " + name + " [3, 7], wanted " + name + " [3, 8]");
  EXPECT_EQ(forward(c.args, {}, {}), "layernorm_forward: y is empty, wanted " + name + " [3, 8]");
  EXPECT_EQ(forward(c.args, y.tensor, dw.tensor), "layernorm_forward: stats is f32 [8], wanted f32 [3, 2]");
  EXPECT_EQ(forward({other.tensor, c.w.tensor, c.b.tensor}, y.tensor, {}),
            "layernorm_forward: x is f64, wanted f32 or bf16");
  EXPECT_EQ(forward({c.w.tensor, c.w.tensor, c.b.tensor}, y.tensor, {}), "layernorm_forward: x is [8], wanted rank 2");
  EXPECT_EQ(forward({c.x.tensor, {}, c.b.tensor}, y.tensor, {}),
            "layernorm_forward: w is empty, wanted " + name + " [8]");
  EXPECT_EQ(forward({c.x.tensor, c.w.tensor, c.b.tensor, 0}, y.tensor, {}),
            "layernorm_forward: eps is 0, wanted more than 0");
  const auto backward = [&](Tensor s, Tensor dy, Tensor dx, Tensor dw_, Tensor db) {
    return error_of([&] { layernorm_backward(ctx, c.args, s, dy, dx, dw_, db); });
  };
  EXPECT_EQ(backward({}, c.dy.tensor, y.tensor, dw.tensor, dw.tensor),
            "layernorm_backward: stats is empty, wanted f32 [3, 2]");
  EXPECT_EQ(backward(stats.tensor, y.tensor, y.tensor, dw.tensor, dw.tensor), "layernorm_backward: dx aliases dy");
  EXPECT_EQ(backward(stats.tensor, c.dy.tensor, y.tensor, dw.tensor, short_dw.tensor),
            "layernorm_backward: db is f32 [7], wanted f32 [8]");
}

}  // namespace
}  // namespace uvic::test
