#include "tests/kernels/linear_case.h"

namespace uvic::test {
namespace {

// One row, fewer rows than a tile, ragged rows; widths that are and are not multiples of 16 and 32; then more of each
// dimension than the AMX kernel takes at once: 256 inputs, 512 columns, 512 rows a thread, and 2560 rows in a weight's
// gradient.
constexpr LinearSize kSizes[] = {{1, 24, 12},   {3, 96, 33},   {17, 64, 192}, {66, 24, 33}, {66, 96, 192},
                                 {1, 64, 33},   {17, 96, 12},  {3, 24, 192},  {1, 1, 1},    {66, 544, 40},
                                 {1090, 8, 40}, {40, 40, 530}, {2600, 8, 33}};

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

INSTANTIATE_TEST_SUITE_P(Everywhere, LinearTest, ::testing::ValuesIn(everywhere_and_gpu()), where_name);

TEST_P(LinearTest, ForwardMatchesReference) {
  for (const LinearSize& s : kSizes)
    for (const Activation act : kActivations)
      for (int options = 0; options < 8; ++options) {
        const bool bias = options & 1, residual = options & 2, keep_pre = options & 4;
        SCOPED_TRACE(concat(describe(s), " act ", int(act), " bias ", bias, " residual ", residual, " pre ", keep_pre));
        const LinearCase c(s, dtype(), act, bias, residual);
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
  for (const LinearSize& s : kSizes)
    for (const Activation act : kActivations) {
      SCOPED_TRACE(concat(describe(s), " act ", int(act)));
      const LinearCase c(s, dtype(), Activation::none, true, false);
      const OwnedTensor pre = random_tensor(dtype(), {s.N, s.K}, 7, 3);
      const OwnedTensor dy = random_tensor(dtype(), {s.N, s.M}, 5), dx = random_tensor(dtype(), {s.N, s.K}, 6);
      const OwnedTensor dw = started({s.M, s.K}), db = started({s.M});
      const auto dy_before = values(dy.tensor);
      linear_backward(ctx, {c.x.tensor, c.w.tensor, act, pre.tensor}, dy.tensor, dx.tensor, dw.tensor, db.tensor);
      const auto want = reference::linear_backward(c.want, dy_before, act, values(pre.tensor));
      EXPECT_CLOSE_MAX(values(dx.tensor), want.dx, tolerance());
      EXPECT_CLOSE_MAX(added_to(dw.tensor), want.dw, tolerance());
      EXPECT_CLOSE_MAX(added_to(db.tensor), want.db, tolerance());
      EXPECT_EQ(values(dy.tensor), dy_before);
    }
}

TEST_P(LinearTest, BackwardMakesOnlyWhatIsWanted) {
  const LinearSize s{17, 96, 33};
  const LinearCase c(s, dtype(), Activation::none, false, false);
  const OwnedTensor dy = random_tensor(dtype(), {s.N, s.M}, 5), dx = tensor({s.N, s.K});
  const OwnedTensor dw(host(), DType::f32, {s.M, s.K}), db(host(), DType::f32, {s.M});
  const LinearBackwardArgs args{c.x.tensor, c.w.tensor};
  linear_backward(ctx, args, dy.tensor, dx.tensor, {}, {});
  linear_backward(ctx, args, dy.tensor, {}, dw.tensor, {});
  linear_backward(ctx, args, dy.tensor, {}, {}, db.tensor);
  const auto want = reference::linear_backward(c.want, values(dy.tensor));
  EXPECT_CLOSE_MAX(values(dx.tensor), want.dx, tolerance());
  EXPECT_CLOSE_MAX(values(dw.tensor), want.dw, tolerance());
  EXPECT_CLOSE_MAX(values(db.tensor), want.db, tolerance());
}

// Also at addresses that no wide load may touch.
TEST_P(LinearTest, BiasMayLieAnywhere) {
  for (const Activation act : kActivations) {
    LinearCase c({5, 24, 40}, dtype(), act, true, true);
    const OwnedTensor longer = tensor({41}), y = tensor({5, 40});
    std::vector<double> numbers = c.want.b;
    numbers.insert(numbers.begin(), 100.0);
    assign(longer.tensor, numbers);
    c.args.b = longer.tensor.rows(1, 41);
    for (int i = 0; i < 2; ++i) linear_forward(ctx, c.args, y.tensor);
    EXPECT_CLOSE_MAX(values(y.tensor), reference::linear_forward(c.want).y, tolerance());
  }
}

TEST_P(LinearTest, SkipLinearMatchesTheConcatenation) {
  for (const LinearSize& s : kSizes)
    for (const bool bias : {false, true}) {
      SCOPED_TRACE(concat(describe(s), " bias ", bias));
      const LinearCase joined({s.N, 2 * s.K, s.M}, dtype(), Activation::none, bias, false);
      const OwnedTensor x = random_tensor(dtype(), {s.N, s.K}, 1), skip = random_tensor(dtype(), {s.N, s.K}, 11);
      const SkipLinearArgs args{x.tensor, skip.tensor, joined.w.tensor, joined.b.tensor, {}};
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
      const auto want = reference::linear_backward(reference, dy_before);
      EXPECT_CLOSE_MAX(reference::joined(values(dx.tensor), values(dskip.tensor), s.N, s.K), want.dx, tolerance());
      EXPECT_CLOSE_MAX(added_to(dw.tensor), want.dw, tolerance());
      EXPECT_CLOSE_MAX(added_to(db.tensor), want.db, tolerance());
      EXPECT_EQ(values(dy.tensor), dy_before);
    }
}

// The reference itself: x = act(pre) through a linear layer, by differences in every variable.
TEST(LinearReference, BackwardAgreesWithDifferences) {
  for (const Activation act : kActivations) {
    SCOPED_TRACE(int(act));
    reference::Linear c = LinearCase({4, 5, 3}, DType::f32, Activation::none, true, true).want;
    std::vector<double> pre = c.x;
    const auto dy = values(random_tensor(DType::f32, {4, 3}, 5).tensor);
    const auto apply = [&] {
      for (size_t i = 0; i < pre.size(); ++i) c.x[i] = activate(act, pre[i]);
    };
    const auto loss = [&] {
      apply();
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
    apply();
    const auto g = reference::linear_backward(c, dy, act, pre);
    expect_gradient(pre, g.dx);
    expect_gradient(c.w, g.dw);
    expect_gradient(c.b, g.db);
  }
}

}  // namespace
}  // namespace uvic::test
