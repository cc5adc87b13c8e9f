#include "kernels/ops/linear.h"

#include "tests/check.h"
#include "tests/reference/linear.h"

namespace uvic::test {
namespace {

constexpr Activation kActivations[] = {Activation::none, Activation::gelu, Activation::silu};

struct Size {
  int64_t N, K, M;
};
// One row, fewer rows than a tile, ragged rows; widths that are and are not multiples of 16 and 32; then more of each
// dimension than the AMX kernel takes at once: 256 inputs, 512 columns, 512 rows a thread, and 2560 rows in a weight's
// gradient.
constexpr Size kSizes[] = {{1, 24, 12},   {3, 96, 33},   {17, 64, 192}, {66, 24, 33}, {66, 96, 192},
                           {1, 64, 33},   {17, 96, 12},  {3, 24, 192},  {1, 1, 1},    {66, 544, 40},
                           {1090, 8, 40}, {40, 40, 530}, {2600, 8, 33}};

std::string describe(const Size& s) { return concat("N ", s.N, " K ", s.K, " M ", s.M); }

// The tensors of one call, and the same numbers in double.
struct Case {
  Case(const Size& s, DType dtype, Activation act, bool bias, bool residual)
      : x(random_tensor(dtype, {s.N, s.K}, 1)), w(random_tensor(dtype, {s.M, s.K}, 2, 2 / std::sqrt(double(s.K)))) {
    if (bias) b = random_tensor(dtype, {s.M}, 3);
    if (residual) r = random_tensor(dtype, {s.N, s.M}, 4);
    args = {x.tensor, w.tensor, b.tensor, r.tensor, act};
    want = {s.N, s.K, s.M, values(x.tensor), values(w.tensor), {}, {}, act};
    if (bias) want.b = values(b.tensor);
    if (residual) want.residual = values(r.tensor);
  }
  OwnedTensor x, w, b, r;
  LinearArgs args;
  reference::Linear want;
};

// Where parameter gradients start, since they are added to: small and a power of two, so that taking it off again does
// not hide what was added.
constexpr double kStart = 0.125;

OwnedTensor started(Shape shape) {
  return tensor_of(DType::f32, shape, std::vector<double>(size_t(shape.numel()), kStart));
}

std::vector<double> added_to(Tensor t) {
  std::vector<double> v = values(t);
  for (double& x : v) x -= kStart;
  return v;
}

class LinearTest : public ::testing::TestWithParam<Where> {
 protected:
  DType dtype() const { return GetParam().dtype; }
  double tolerance() const { return op_tolerance(dtype()); }
  OwnedTensor tensor(Shape shape) const { return {{}, dtype(), shape}; }
  Context ctx = context(GetParam());
};
INSTANTIATE_TEST_SUITE_P(Everywhere, LinearTest, ::testing::ValuesIn(everywhere()), where_name);

TEST_P(LinearTest, ForwardMatchesReference) {
  for (const Size& s : kSizes)
    for (const Activation act : kActivations)
      for (int options = 0; options < 8; ++options) {
        const bool bias = options & 1, residual = options & 2, keep_pre = options & 4;
        SCOPED_TRACE(concat(describe(s), " act ", int(act), " bias ", bias, " residual ", residual, " pre ", keep_pre));
        const Case c(s, dtype(), act, bias, residual);
        const OwnedTensor y = random_tensor(dtype(), {s.N, s.M}, 9);
        OwnedTensor pre;
        if (keep_pre) pre = tensor({s.N, s.M});
        linear_forward(ctx, c.args, y.tensor, pre.tensor);
        const auto want = reference::linear_forward(c.want);
        EXPECT_CLOSE_MAX(values(y.tensor), want.y, tolerance());
        if (keep_pre) {
          EXPECT_CLOSE_MAX(values(pre.tensor), want.pre, tolerance());
        }
      }
}

TEST_P(LinearTest, BackwardMatchesReferenceAndAccumulates) {
  for (const Size& s : kSizes)
    for (const Activation act : kActivations) {
      SCOPED_TRACE(concat(describe(s), " act ", int(act)));
      const Case c(s, dtype(), act, true, false);
      const OwnedTensor pre = tensor_of(dtype(), {s.N, s.M}, reference::linear_forward(c.want).pre);
      const OwnedTensor dy = random_tensor(dtype(), {s.N, s.M}, 5), dx = random_tensor(dtype(), {s.N, s.K}, 6);
      const OwnedTensor dw = started({s.M, s.K}), db = started({s.M});
      const auto dy_before = values(dy.tensor);
      linear_backward(ctx, c.args, pre.tensor, dy.tensor, dx.tensor, dw.tensor, db.tensor);
      const auto want = reference::linear_backward(c.want, values(pre.tensor), dy_before);
      EXPECT_CLOSE_MAX(values(dx.tensor), want.dx, tolerance());
      EXPECT_CLOSE_MAX(added_to(dw.tensor), want.dw, tolerance());
      EXPECT_CLOSE_MAX(added_to(db.tensor), want.db, tolerance());
      EXPECT_EQ(values(dy.tensor), dy_before);
    }
}

TEST_P(LinearTest, BackwardMakesOnlyWhatIsWanted) {
  const Size s{17, 96, 33};
  const Case c(s, dtype(), Activation::none, false, false);
  const OwnedTensor dy = random_tensor(dtype(), {s.N, s.M}, 5), dx = tensor({s.N, s.K});
  const OwnedTensor dw({}, DType::f32, {s.M, s.K}), db({}, DType::f32, {s.M});
  linear_backward(ctx, c.args, {}, dy.tensor, dx.tensor, {}, {});
  linear_backward(ctx, c.args, {}, dy.tensor, {}, dw.tensor, {});
  linear_backward(ctx, c.args, {}, dy.tensor, {}, {}, db.tensor);
  const auto want = reference::linear_backward(c.want, {}, values(dy.tensor));
  EXPECT_CLOSE_MAX(values(dx.tensor), want.dx, tolerance());
  EXPECT_CLOSE_MAX(values(dw.tensor), want.dw, tolerance());
  EXPECT_CLOSE_MAX(values(db.tensor), want.db, tolerance());
}

TEST_P(LinearTest, SkipLinearMatchesTheConcatenation) {
  for (const Size& s : kSizes)
    for (const bool bias : {false, true}) {
      SCOPED_TRACE(concat(describe(s), " bias ", bias));
      const Case joined({s.N, 2 * s.K, s.M}, dtype(), Activation::none, bias, false);
      const OwnedTensor x = random_tensor(dtype(), {s.N, s.K}, 1), skip = random_tensor(dtype(), {s.N, s.K}, 11);
      const SkipLinearArgs args{x.tensor, skip.tensor, joined.w.tensor, joined.b.tensor};
      reference::Linear reference = joined.want;
      reference.x = reference::joined(values(x.tensor), values(skip.tensor), s.N, s.K);

      const OwnedTensor y = random_tensor(dtype(), {s.N, s.M}, 9);
      skip_linear_forward(ctx, args, y.tensor);
      EXPECT_CLOSE_MAX(values(y.tensor), reference::linear_forward(reference).y, tolerance());

      const OwnedTensor dy = random_tensor(dtype(), {s.N, s.M}, 5), dx = random_tensor(dtype(), {s.N, s.K}, 6);
      const OwnedTensor dskip = random_tensor(dtype(), {s.N, s.K}, 12);
      const OwnedTensor dw = started({s.M, 2 * s.K}), db = started({s.M});
      const auto dy_before = values(dy.tensor);
      skip_linear_backward(ctx, args, dy.tensor, dx.tensor, dskip.tensor, dw.tensor, db.tensor);
      const auto want = reference::linear_backward(reference, {}, dy_before);
      EXPECT_CLOSE_MAX(reference::joined(values(dx.tensor), values(dskip.tensor), s.N, s.K), want.dx, tolerance());
      EXPECT_CLOSE_MAX(added_to(dw.tensor), want.dw, tolerance());
      EXPECT_CLOSE_MAX(added_to(db.tensor), want.db, tolerance());
      EXPECT_EQ(values(dy.tensor), dy_before);
    }
}

// Sums of a thousand terms near 1: were they held in bf16, they would stop growing at 256.
TEST_P(LinearTest, SumsAreInF32) {
  const int64_t n = 1000;
  const std::vector<double> ones(size_t(n), 1.0);
  const OwnedTensor row = tensor_of(dtype(), {1, n}, ones), column = tensor_of(dtype(), {n, 1}, ones);
  const OwnedTensor y = tensor({1, 1}), skip_y = tensor({1, 1}), dw({}, DType::f32, {1, 1}), db({}, DType::f32, {1});
  linear_forward(ctx, {.x = row.tensor, .w = row.tensor, .b = {}, .residual = {}}, y.tensor);
  EXPECT_EQ(at(y.tensor, 0), 1000);
  const OwnedTensor both = tensor_of(dtype(), {1, 2 * n}, std::vector<double>(size_t(2 * n), 1.0));
  skip_linear_forward(ctx, {row.tensor, row.tensor, both.tensor, {}}, skip_y.tensor);
  EXPECT_EQ(at(skip_y.tensor, 0), 2000);
  const OwnedTensor one = tensor_of(dtype(), {1, 1}, {1.0});
  linear_backward(ctx, {.x = column.tensor, .w = one.tensor, .b = {}, .residual = {}}, {}, column.tensor, {}, dw.tensor,
                  db.tensor);
  EXPECT_EQ(at(dw.tensor, 0), 1000);
  EXPECT_EQ(at(db.tensor, 0), 1000);
}

TEST_P(LinearTest, RepeatsToTheBitAndGivesScratchBack) {
  const Size s{130, 96, 192};
  const Case c(s, dtype(), Activation::gelu, true, true);
  const OwnedTensor dy = random_tensor(dtype(), {s.N, s.M}, 5);
  std::vector<std::vector<double>> first;
  for (int run = 0; run < 3; ++run) {
    const OwnedTensor y = tensor({s.N, s.M}), pre = tensor({s.N, s.M}), dx = tensor({s.N, s.K});
    const OwnedTensor dw({}, DType::f32, {s.M, s.K}), db({}, DType::f32, {s.M});
    const Arena::Mark before = ctx.arena().mark();
    linear_forward(ctx, c.args, y.tensor, pre.tensor);
    linear_backward(ctx, c.args, pre.tensor, dy.tensor, dx.tensor, dw.tensor, db.tensor);
    EXPECT_EQ(ctx.arena().mark(), before);
    const std::vector<std::vector<double>> got = {values(y.tensor), values(pre.tensor), values(dx.tensor),
                                                  values(dw.tensor), values(db.tensor)};
    if (run == 0) {
      first = got;
    } else {
      EXPECT_EQ(got, first);
    }
    if (run == 0) ctx.arena().reset();
  }
  const int growths = ctx.arena().growths();
  const OwnedTensor y = tensor({s.N, s.M});
  linear_forward(ctx, c.args, y.tensor);
  EXPECT_EQ(ctx.arena().growths(), growths);
}

// Sums of AMX products are taken in the same order by any number of threads, however these share the result.
TEST(LinearThreads, DoNotChangeAmxResults) {
  if (best_isa() < Isa::amx) GTEST_SKIP() << "no AMX";
  for (const Size& s : {Size{66, 544, 40}, Size{1090, 8, 40}, {40, 40, 530}, Size{17, 96, 330}}) {
    SCOPED_TRACE(describe(s));
    const Case c(s, DType::bf16, Activation::gelu, true, true);
    std::vector<std::vector<double>> first;
    for (const int threads : {1, 2, 3, 4}) {
      Context ctx({.device = {}, .threads = threads, .isa = Isa::amx});
      const OwnedTensor y({}, DType::bf16, {s.N, s.M}), dw({}, DType::f32, {s.M, s.K}), db({}, DType::f32, {s.M});
      linear_forward(ctx, c.args, y.tensor);
      linear_backward(ctx, c.args, c.r.tensor, c.r.tensor, {}, dw.tensor, db.tensor);
      const std::vector<std::vector<double>> got = {values(y.tensor), values(dw.tensor), values(db.tensor)};
      if (first.empty()) first = got;
      EXPECT_EQ(got, first) << threads << " threads";
    }
  }
}

// A row's result depends on that row alone, whatever the batch around it.
TEST_P(LinearTest, RowsAreIndependent) {
  const Size s{66, 96, 192};
  const Case all(s, dtype(), Activation::gelu, true, true);
  const OwnedTensor y = tensor({s.N, s.M}), part = tensor({3, s.M});
  linear_forward(ctx, all.args, y.tensor);
  LinearArgs some = all.args;
  some.x = all.args.x.rows(40, 43);
  some.residual = all.args.residual.rows(40, 43);
  linear_forward(ctx, some, part.tensor);
  EXPECT_CLOSE_MAX(values(part.tensor), values(y.tensor.rows(40, 43)), tolerance());
}

TEST(LinearReference, BackwardAgreesWithDifferences) {
  for (const Activation act : kActivations) {
    SCOPED_TRACE(int(act));
    reference::Linear c = Case({4, 5, 3}, DType::f32, act, true, true).want;
    const auto dy = values(random_tensor(DType::f32, {4, 3}, 5).tensor);
    const auto loss = [&] {
      const auto y = reference::linear_forward(c).y;
      double sum = 0;
      for (size_t i = 0; i < y.size(); ++i) sum += y[i] * dy[i];
      return sum;
    };
    const auto expect_gradient = [&](std::vector<double>& variable, const std::vector<double>& gradient) {
      ASSERT_EQ(variable.size(), gradient.size());
      for (size_t i = 0; i < variable.size(); ++i) {
        const double kept = variable[i], h = 1e-5;
        variable[i] = kept + h;
        const double above = loss();
        variable[i] = kept - h;
        const double below = loss();
        variable[i] = kept;
        EXPECT_NEAR(gradient[i], (above - below) / (2 * h), 1e-8);
      }
    };
    const auto g = reference::linear_backward(c, reference::linear_forward(c).pre, dy);
    expect_gradient(c.x, g.dx);
    expect_gradient(c.w, g.dw);
    expect_gradient(c.b, g.db);
  }
}

TEST(LinearErrors, NameTheOpAndTheShapes) {
  Context ctx;
  const OwnedTensor x({}, DType::f32, {4, 8}), w({}, DType::f32, {3, 8}), wide({}, DType::f32, {3, 16});
  const OwnedTensor y({}, DType::f32, {4, 3}), half({}, DType::bf16, {4, 3}), b({}, DType::f32, {3});
  const LinearArgs good{x.tensor, w.tensor, b.tensor, {}, Activation::none};
  LinearArgs bad = good;
  bad.w = wide.tensor;
  EXPECT_EQ(error_of([&] { linear_forward(ctx, bad, y.tensor); }),
            "linear_forward: x [4, 8] and w [3, 16] disagree on K: 8 against 16");
  EXPECT_EQ(error_of([&] {
              skip_linear_forward(ctx, {x.tensor, x.tensor, w.tensor, {}}, y.tensor);
            }),
            "skip_linear_forward: x [4, 8] and w [3, 8] disagree on K: 16 against 8");
  bad = good;
  bad.x = {};
  EXPECT_EQ(error_of([&] { linear_forward(ctx, bad, y.tensor); }), "linear_forward: x is empty");
  bad = good;
  bad.b = y.tensor;
  EXPECT_EQ(error_of([&] { linear_forward(ctx, bad, y.tensor); }), "linear_forward: b is f32 [4, 3], wanted f32 [3]");
  bad = good;
  bad.residual = x.tensor;
  EXPECT_EQ(error_of([&] { linear_forward(ctx, bad, y.tensor); }),
            "linear_forward: residual is f32 [4, 8], wanted f32 [4, 3]");
  EXPECT_EQ(error_of([&] { linear_forward(ctx, good, half.tensor); }),
            "linear_forward: y is bf16 [4, 3], wanted f32 [4, 3]");
  EXPECT_EQ(error_of([&] { linear_forward(ctx, good, {}); }), "linear_forward: y is empty, wanted f32 [4, 3]");
  bad = good;
  bad.act = Activation::gelu;
  EXPECT_EQ(error_of([&] { linear_backward(ctx, bad, {}, y.tensor, x.tensor, {}, {}); }),
            "linear_backward: pre is empty, wanted f32 [4, 3]");
  EXPECT_EQ(error_of([&] { linear_backward(ctx, good, {}, y.tensor, {}, half.tensor, {}); }),
            "linear_backward: dw is bf16 [4, 3], wanted f32 [3, 8]");
  const OwnedTensor square({}, DType::f32, {8, 8});
  EXPECT_EQ(error_of([&] {
              linear_backward(ctx, {.x = x.tensor, .w = square.tensor, .b = {}, .residual = {}}, {}, x.tensor, x.tensor,
                              {}, {});
            }),
            "linear_backward: dx aliases dy");
  EXPECT_EQ(error_of([&] {
              skip_linear_backward(ctx, {x.tensor, y.tensor, wide.tensor, {}}, y.tensor, {}, {}, {}, {});
            }),
            "skip_linear_backward: skip is f32 [4, 3], wanted f32 [4, 8]");
}

}  // namespace
}  // namespace uvic::test
