// What linear promises beside its values: precision, repeatability, memory, errors.

#include "tests/kernels/linear_case.h"

namespace uvic::test {
namespace {

class LinearContractTest : public LinearTest {};
INSTANTIATE_TEST_SUITE_P(Everywhere, LinearContractTest, ::testing::ValuesIn(everywhere_and_gpu()), where_name);

// Sums of a thousand terms near 1: were they held in bf16, they would stop growing at 256.
TEST_P(LinearContractTest, SumsAreInF32) {
  const int64_t n = 1000;
  const std::vector<double> ones(size_t(n), 1.0);
  const OwnedTensor row = tensor_of(dtype(), {1, n}, ones), column = tensor_of(dtype(), {n, 1}, ones);
  const OwnedTensor y = tensor({1, 1}), skip_y = tensor({1, 1}), dw(host(), DType::f32, {1, 1}),
                    db(host(), DType::f32, {1});
  linear_forward(ctx, {.x = row.tensor, .w = row.tensor, .b = {}, .residual = {}, .prepacked = {}}, y.tensor);
  EXPECT_EQ(at(y.tensor, 0), 1000);
  const OwnedTensor both = tensor_of(dtype(), {1, 2 * n}, std::vector<double>(size_t(2 * n), 1.0));
  skip_linear_forward(ctx, {row.tensor, row.tensor, both.tensor, {}, {}}, skip_y.tensor);
  EXPECT_EQ(at(skip_y.tensor, 0), 2000);
  const OwnedTensor one = tensor_of(dtype(), {1, 1}, {1.0});
  linear_backward(ctx, {.x = column.tensor, .w = one.tensor, .x_pre = {}}, column.tensor, {}, dw.tensor, db.tensor);
  EXPECT_EQ(at(dw.tensor, 0), 1000);
  EXPECT_EQ(at(db.tensor, 0), 1000);
}

TEST_P(LinearContractTest, RepeatsToTheBitAndGivesScratchBack) {
  const LinearSize s{130, 96, 192};
  const LinearCase c(s, dtype(), Activation::gelu, true, true);
  const OwnedTensor dy = random_tensor(dtype(), {s.N, s.M}, 5);
  std::vector<std::vector<double>> first;
  for (int run = 0; run < 3; ++run) {
    const OwnedTensor y = tensor({s.N, s.M}), pre = tensor({s.N, s.M}), dx = tensor({s.N, s.K});
    const OwnedTensor dw(host(), DType::f32, {s.M, s.K}), db(host(), DType::f32, {s.M});
    const Arena::Mark before = ctx.arena().mark();
    linear_forward(ctx, c.args, y.tensor, pre.tensor);
    linear_backward(ctx, {c.x.tensor, c.w.tensor, Activation::gelu, c.x.tensor}, dy.tensor, dx.tensor, dw.tensor,
                    db.tensor);
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
  for (const LinearSize& s :
       {LinearSize{66, 544, 40}, LinearSize{1090, 8, 40}, {40, 40, 530}, LinearSize{17, 96, 330}}) {
    SCOPED_TRACE(describe(s));
    const LinearCase c(s, DType::bf16, Activation::gelu, true, true);
    std::vector<std::vector<double>> first;
    for (const int threads : {1, 2, 3, 4}) {
      Context ctx({.device = {}, .threads = threads, .isa = Isa::amx});
      const OwnedTensor y(host(), DType::bf16, {s.N, s.M}), dx(host(), DType::bf16, {s.N, s.K});
      const OwnedTensor dw(host(), DType::f32, {s.M, s.K}), db(host(), DType::f32, {s.M});
      linear_forward(ctx, c.args, y.tensor);
      linear_backward(ctx, {c.x.tensor, c.w.tensor, Activation::gelu, c.x.tensor}, c.r.tensor, dx.tensor, dw.tensor,
                      db.tensor);
      const std::vector<std::vector<double>> got = {values(y.tensor), values(dx.tensor), values(dw.tensor),
                                                    values(db.tensor)};
      if (first.empty()) first = got;
      EXPECT_EQ(got, first) << threads << " threads";
    }
  }
}

// x and w of one element give the activation itself, at every size; beside its own error it is rounded once.
TEST_P(LinearContractTest, ActivationsAreWhatActivationHeaderAllows) {
  std::vector<double> x;
  for (int i = -1000; i <= 1000; ++i) x.push_back(i / 128.0);  // most of these are bf16 numbers
  const auto n = static_cast<int64_t>(x.size());
  const bool half = dtype() == DType::bf16;
  const OwnedTensor in = tensor_of(dtype(), {n, 1}, x), one = tensor_of(dtype(), {1, 1}, {1.0});
  const OwnedTensor ones = tensor_of(dtype(), {n, 1}, std::vector<double>(x.size(), 1.0));
  const OwnedTensor y = tensor({n, 1}), dx = tensor({n, 1});
  x = values(in.tensor);
  for (const Activation act : kActivations) {
    linear_forward(ctx, {in.tensor, one.tensor, {}, {}, act, {}}, y.tensor);
    linear_backward(ctx, {in.tensor, one.tensor, act, in.tensor}, ones.tensor, dx.tensor, {}, {});
    for (int64_t i = 0; i < n; ++i) {
      const double at_x = x[static_cast<size_t>(i)], want = activate(act, at_x);
      const double slope = activation_derivative(act, at_x), rounding = half ? 0x1p-8 : 0x1p-24;
      const double bound = half ? std::max(4e-4 * std::abs(want), 2e-5) : 1e-6;
      EXPECT_NEAR(at(y.tensor, i), want, bound + rounding * (std::abs(want) + bound)) << int(act) << " of " << at_x;
      EXPECT_NEAR(at(dx.tensor, i), slope, (half ? 1e-4 : 1e-6) + rounding * 1.01 * std::abs(slope) + 1e-6)
          << int(act) << " of " << at_x;
    }
  }
}

// Weights that were brought into the backend's order beforehand are the same weights.
TEST_P(LinearContractTest, PrepackedWeightsGiveTheSameBits) {
  for (const LinearSize& s : {LinearSize{17, 96, 33}, LinearSize{66, 544, 40}}) {
    SCOPED_TRACE(describe(s));
    const LinearCase c(s, dtype(), Activation::gelu, true, true);
    const OwnedTensor packed = prepack_linear(ctx, c.w.tensor), y = tensor({s.N, s.M}), again = tensor({s.N, s.M});
    EXPECT_EQ(packed.tensor.empty(), ctx.isa() < Isa::amx || dtype() != DType::bf16);
    LinearArgs args = c.args;
    args.prepacked = packed.tensor;
    linear_forward(ctx, c.args, y.tensor);
    linear_forward(ctx, args, again.tensor);
    EXPECT_EQ(values(again.tensor), values(y.tensor));

    const LinearCase joined({s.N, 2 * s.K, s.M}, dtype(), Activation::none, true, false);
    const OwnedTensor halves = prepack_skip_linear(ctx, joined.w.tensor);
    SkipLinearArgs skip{c.x.tensor, c.x.tensor, joined.w.tensor, joined.b.tensor, {}};
    skip_linear_forward(ctx, skip, y.tensor);
    skip.prepacked = halves.tensor;
    skip_linear_forward(ctx, skip, again.tensor);
    EXPECT_EQ(values(again.tensor), values(y.tensor));
  }
}

// A row's result depends on that row alone, whatever the batch around it.
TEST_P(LinearContractTest, RowsAreIndependent) {
  const LinearSize s{66, 96, 192};
  const LinearCase all(s, dtype(), Activation::gelu, true, true);
  const OwnedTensor y = tensor({s.N, s.M}), part = tensor({3, s.M});
  linear_forward(ctx, all.args, y.tensor);
  LinearArgs some = all.args;
  some.x = all.args.x.rows(40, 43);
  some.residual = all.args.residual.rows(40, 43);
  linear_forward(ctx, some, part.tensor);
  EXPECT_CLOSE_MAX(values(part.tensor), values(y.tensor.rows(40, 43)), tolerance());
}

// AMX divides the rows among threads.
TEST_P(LinearContractTest, NoRowsAreRefused) {
  const OwnedTensor w = tensor({3, 8}), wide = tensor({3, 16}), some = tensor({1, 8});
  const Tensor x(some.tensor.raw(), dtype(), {0, 8}), y(some.tensor.raw(), dtype(), {0, 3});
  const auto linear = [&] {
    linear_forward(ctx, {.x = x, .w = w.tensor, .b = {}, .residual = {}, .prepacked = {}}, y);
  };
  EXPECT_EQ(error_of(linear), "linear_forward: x [0, 8] and w [3, 8] must have elements");
  EXPECT_EQ(error_of([&] { linear_backward(ctx, {.x = x, .w = w.tensor, .x_pre = {}}, y, {}, {}, {}); }),
            "linear_backward: x [0, 8] and w [3, 8] must have elements");
  EXPECT_EQ(error_of([&] {
              skip_linear_forward(ctx, {x, x, wide.tensor, {}, {}}, y);
            }),
            "skip_linear_forward: x [0, 8] and w [3, 16] must have elements");
}

TEST(LinearErrors, NameTheOpAndTheShapes) {
  Context ctx;
  const OwnedTensor x(host(), DType::f32, {4, 8}), w(host(), DType::f32, {3, 8}), wide(host(), DType::f32, {3, 16});
  const OwnedTensor y(host(), DType::f32, {4, 3}), half(host(), DType::bf16, {4, 3}), b(host(), DType::f32, {3});
  const LinearArgs good{x.tensor, w.tensor, b.tensor, {}, Activation::none, {}};
  LinearArgs bad = good;
  bad.w = wide.tensor;
  EXPECT_EQ(error_of([&] { linear_forward(ctx, bad, y.tensor); }),
            "linear_forward: x [4, 8] and w [3, 16] disagree on K: 8 against 16");
  EXPECT_EQ(error_of([&] {
              skip_linear_forward(ctx, {x.tensor, x.tensor, w.tensor, {}, {}}, y.tensor);
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
  const LinearBackwardArgs plain{x.tensor, w.tensor}, through{x.tensor, w.tensor, Activation::gelu, {}};
  EXPECT_EQ(error_of([&] { linear_backward(ctx, through, y.tensor, x.tensor, {}, {}); }),
            "linear_backward: x_pre is empty, wanted f32 [4, 8]");
  EXPECT_EQ(error_of([&] { linear_backward(ctx, plain, y.tensor, {}, half.tensor, {}); }),
            "linear_backward: dw is bf16 [4, 3], wanted f32 [3, 8]");
  const OwnedTensor square(host(), DType::f32, {8, 8});
  EXPECT_EQ(error_of([&] {
              linear_backward(ctx, {.x = x.tensor, .w = square.tensor, .x_pre = {}}, x.tensor, x.tensor, {}, {});
            }),
            "linear_backward: dx aliases dy");
  EXPECT_EQ(error_of([&] {
              skip_linear_backward(ctx, {x.tensor, y.tensor, wide.tensor, {}, {}}, y.tensor, {}, {}, {}, {});
            }),
            "skip_linear_backward: skip is f32 [4, 3], wanted f32 [4, 8]");
}

}  // namespace
}  // namespace uvic::test
