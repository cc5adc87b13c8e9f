#include "kernels/ops/mlp.h"

#include "kernels/ops/linear.h"
#include "tests/check.h"
#include "tests/reference/linear.h"

namespace uvic::test {
namespace {

struct MlpSize {
  int64_t N, K, M;
};
std::string describe(const MlpSize& s) { return concat("N ", s.N, " K ", s.K, " M ", s.M); }

// One row, ragged rows; widths that are and are not multiples of 32; then more of each than the AMX kernel takes at
// once: 256 rows a thread, 512 columns in between in two and three blocks, and 512 inputs.
constexpr MlpSize kSizes[] = {{1, 8, 12},    {3, 24, 96},   {33, 40, 160},  {66, 96, 384},   {65, 64, 33},
                              {600, 32, 64}, {40, 24, 800}, {34, 33, 1100}, {70, 530, 1060}, {1, 1, 1}};

// An op's tensors, and two linear layers of the same numbers in double.
struct MlpCase {
  MlpCase(const MlpSize& s, DType dtype, Activation act, bool residual)
      : x(random_tensor(dtype, {s.N, s.K}, 1)),
        w1(random_tensor(dtype, {s.M, s.K}, 2, 2 / std::sqrt(double(s.K)))),
        b1(random_tensor(dtype, {s.M}, 3)),
        w2(random_tensor(dtype, {s.K, s.M}, 4, 2 / std::sqrt(double(s.M)))),
        b2(random_tensor(dtype, {s.K}, 5)) {
    if (residual) r = random_tensor(dtype, {s.N, s.K}, 6);
    args = {.x = x.tensor,
            .w1 = w1.tensor,
            .b1 = b1.tensor,
            .w2 = w2.tensor,
            .b2 = b2.tensor,
            .residual = r.tensor,
            .act = act};
    first = {s.N, s.K, s.M, values(x.tensor), values(w1.tensor), values(b1.tensor), {}, act};
    second = {s.N, s.M, s.K, {}, values(w2.tensor), values(b2.tensor), {}};
    if (residual) second.residual = values(r.tensor);
  }
  OwnedTensor x, w1, b1, w2, b2, r;
  MlpArgs args;
  reference::Linear first, second;
};

class MlpTest : public ::testing::TestWithParam<Where> {
 protected:
  DType dtype() const { return GetParam().dtype; }
  // What lies between is rounded too.
  double tolerance() const { return 2 * op_tolerance(dtype()); }
  OwnedTensor tensor(Shape shape) const { return {host(), dtype(), shape}; }
  Context ctx = context(GetParam());
};
INSTANTIATE_TEST_SUITE_P(Everywhere, MlpTest, ::testing::ValuesIn(everywhere_and_gpu()), where_name);

TEST_P(MlpTest, ForwardMatchesTwoLinears) {
  for (const MlpSize& s : kSizes)
    for (const Activation act : {Activation::gelu, Activation::silu, Activation::quick_gelu, Activation::none})
      for (int options = 0; options < 8; ++options) {
        const bool residual = options & 1, keep_pre = options & 2, prepacked = options & 4;
        SCOPED_TRACE(concat(describe(s), " act ", int(act), " residual ", residual, " pre ", keep_pre));
        MlpCase c(s, dtype(), act, residual);
        const OwnedTensor y = random_tensor(dtype(), {s.N, s.K}, 9);
        OwnedTensor pre, packed1, packed2;
        if (keep_pre) pre = tensor({s.N, s.M});
        if (prepacked) {
          packed1 = prepack_linear(ctx, c.w1.tensor);
          packed2 = prepack_linear(ctx, c.w2.tensor);
          c.args.prepacked1 = packed1.tensor;
          c.args.prepacked2 = packed2.tensor;
        }
        mlp_forward(ctx, c.args, y.tensor, pre.tensor);
        const auto hidden = reference::linear_forward(c.first);
        c.second.x = hidden.y;
        EXPECT_CLOSE_MAX(values(y.tensor), reference::linear_forward(c.second).y, tolerance());
        if (keep_pre) {
          EXPECT_CLOSE_MAX(values(pre.tensor), hidden.pre, tolerance());
        }
      }
}

TEST_P(MlpTest, BackwardMatchesTwoLinearsAndAccumulates) {
  static constexpr double kStart = 0.125;  // where gradients of parameters begin, since they are added to
  const auto started = [](Shape shape) {
    return tensor_of(DType::f32, shape, std::vector<double>(size_t(shape.numel()), kStart));
  };
  const auto added = [](Tensor t) {
    std::vector<double> v = values(t);
    for (double& x : v) x -= kStart;
    return v;
  };
  for (const MlpSize& s : kSizes)
    for (const Activation act : {Activation::gelu, Activation::silu, Activation::quick_gelu}) {
      SCOPED_TRACE(concat(describe(s), " act ", int(act)));
      MlpCase c(s, dtype(), act, false);
      const OwnedTensor pre = random_tensor(dtype(), {s.N, s.M}, 7, 3), dy = random_tensor(dtype(), {s.N, s.K}, 8);
      const OwnedTensor dx = random_tensor(dtype(), {s.N, s.K}, 9);
      const OwnedTensor dw1 = started({s.M, s.K}), db1 = started({s.M}), dw2 = started({s.K, s.M}),
                        db2 = started({s.K});
      const auto pre_before = values(pre.tensor), dy_before = values(dy.tensor);
      mlp_backward(ctx, {c.x.tensor, c.w1.tensor, c.w2.tensor, act, pre.tensor}, dy.tensor, dx.tensor, dw1.tensor,
                   db1.tensor, dw2.tensor, db2.tensor);
      c.second.x = pre_before;
      for (double& x : c.second.x) x = activate(act, x);
      const auto second = reference::linear_backward(c.second, dy_before, act, pre_before);
      const auto first = reference::linear_backward(c.first, second.dx);
      EXPECT_CLOSE_MAX(values(dx.tensor), first.dx, tolerance());
      EXPECT_CLOSE_MAX(added(dw1.tensor), first.dw, tolerance());
      EXPECT_CLOSE_MAX(added(db1.tensor), first.db, tolerance());
      EXPECT_CLOSE_MAX(added(dw2.tensor), second.dw, tolerance());
      EXPECT_CLOSE_MAX(added(db2.tensor), second.db, tolerance());
      EXPECT_EQ(values(dy.tensor), dy_before);
    }
}

// Each row's result is its own: by AMX, neither the other rows nor the number of threads change a bit of it.
TEST_P(MlpTest, RowsAndThreadsDoNotMatter) {
  const MlpSize s{300, 40, 160};
  const MlpCase c(s, dtype(), Activation::gelu, true);
  const OwnedTensor y = tensor({s.N, s.K}), part = tensor({7, s.K});
  mlp_forward(ctx, c.args, y.tensor);
  MlpArgs few = c.args;
  const auto some = [](Tensor t) { return t.rows(290, 297); };
  few.x = some(c.x.tensor);
  few.residual = some(c.r.tensor);
  mlp_forward(ctx, few, part.tensor);
  const bool amx = ctx.isa() >= Isa::amx && dtype() == DType::bf16;
  const auto expect_same = [&](Tensor got, Tensor want) {
    EXPECT_CLOSE_MAX(values(got), values(want), amx ? 0 : tolerance());
  };
  expect_same(part.tensor, some(y.tensor));
  for (const int threads : {1, 3}) {
    Context other({.device = GetParam().device, .threads = threads, .isa = GetParam().isa});
    const OwnedTensor again = tensor({s.N, s.K});
    mlp_forward(other, c.args, again.tensor);
    expect_same(again.tensor, y.tensor);
  }
}

TEST_P(MlpTest, RefusesWrongArguments) {
  const MlpCase c({3, 8, 16}, dtype(), Activation::gelu, false);
  const OwnedTensor y = tensor({3, 8}), wrong = tensor({3, 16}), grads(host(), DType::f32, {16, 8});
  const std::string type = name_of(dtype());
  EXPECT_EQ(error_of([&] { mlp_forward(ctx, c.args, wrong.tensor); }),
            "mlp_forward: y is " + type + " [3, 16], wanted " + type + " [3, 8]");
  MlpArgs crossed = c.args;
  crossed.w2 = c.w1.tensor;
  EXPECT_EQ(error_of([&] { mlp_forward(ctx, crossed, y.tensor); }),
            "mlp_forward: w2 is " + type + " [16, 8], wanted " + type + " [8, 16]");
  MlpArgs none = c.args;
  none.x = Tensor(y.tensor.raw(), dtype(), {0, 8});
  EXPECT_EQ(error_of([&] { mlp_forward(ctx, none, none.x); }),
            "mlp_forward: x [0, 8] and w1 [16, 8] must have elements");
  const MlpBackwardArgs args{c.x.tensor, c.w1.tensor, c.w2.tensor, Activation::gelu, y.tensor};
  EXPECT_EQ(error_of([&] { mlp_backward(ctx, args, y.tensor, y.tensor, grads.tensor, {}, {}, {}); }),
            "mlp_backward: pre is " + type + " [3, 8], wanted " + type + " [3, 16]");
}

}  // namespace
}  // namespace uvic::test
