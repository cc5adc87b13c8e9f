#include "kernels/ops/conv.h"

#include "tests/gradcheck.h"
#include "tests/reference/conv.h"

namespace uvic::test {
namespace {

struct Size {
  int64_t B, C, M, h, w, k;
};
// One pixel, borders only, ragged rows, more channels than are taken together, wider filters; the two shipped shapes,
// more than one piece of work each.
constexpr Size kSizes[] = {{1, 1, 1, 1, 1, 3},  {1, 2, 3, 2, 2, 5},   {2, 3, 3, 5, 7, 3},   {1, 3, 5, 9, 33, 1},
                           {2, 2, 9, 6, 19, 5}, {3, 5, 4, 18, 16, 3}, {9, 3, 3, 32, 32, 3}, {9, 4, 4, 32, 32, 3}};

struct Case {
  Case(const Size& s, DType dtype)
      : x(random_tensor(dtype, {s.B, s.C, s.h, s.w}, 1)),
        w(random_tensor(dtype, {s.M, s.C, s.k, s.k}, 2)),
        b(random_tensor(dtype, {s.M}, 3)),
        dy(random_tensor(DType::f32, {s.B, s.M, s.h, s.w}, 4)),
        args{x.tensor, w.tensor, b.tensor},
        reference{s.B, s.C, s.M, s.h, s.w, s.k, values(x.tensor), values(w.tensor), values(b.tensor)} {}

  OwnedTensor x, w, b, dy;
  Conv2dArgs args;
  reference::Conv2d reference;
};

class ConvTest : public ::testing::TestWithParam<Where> {
 protected:
  DType dtype() const { return GetParam().dtype; }
  Context ctx = context(GetParam());
};
INSTANTIATE_TEST_SUITE_P(Everywhere, ConvTest, ::testing::ValuesIn(everywhere_and_gpu()), where_name);

TEST_P(ConvTest, ForwardMatchesReference) {
  for (const Size& s : kSizes) {
    SCOPED_TRACE(concat(Shape{s.B, s.C, s.M, s.h, s.w, s.k}));
    const Case c(s, dtype());
    const OwnedTensor y = random_tensor(DType::f32, {s.B, s.M, s.h, s.w}, 9);
    conv2d_forward(ctx, c.args, y.tensor);
    // y is f32 even where x is bf16, so its error is that of f32 sums.
    EXPECT_CLOSE_MAX(values(y.tensor), reference::conv2d_forward(c.reference), op_tolerance(DType::f32));
  }
}

TEST_P(ConvTest, BackwardMatchesReference) {
  for (const Size& s : kSizes) {
    SCOPED_TRACE(concat(Shape{s.B, s.C, s.M, s.h, s.w, s.k}));
    const Case c(s, dtype());
    const OwnedTensor dx = random_tensor(dtype(), {s.B, s.C, s.h, s.w}, 5);
    const OwnedTensor dw = random_tensor(DType::f32, c.w.tensor.shape(), 6), db = random_tensor(DType::f32, {s.M}, 7);
    auto want = reference::conv2d_backward(c.reference, values(c.dy.tensor));
    const auto dw_start = values(dw.tensor), db_start = values(db.tensor);
    for (size_t i = 0; i < want.dw.size(); ++i) want.dw[i] += dw_start[i];
    for (size_t i = 0; i < want.db.size(); ++i) want.db[i] += db_start[i];
    conv2d_backward(ctx, c.args, c.dy.tensor, dx.tensor, dw.tensor, db.tensor);
    EXPECT_CLOSE_MAX(values(dx.tensor), want.dx, op_tolerance(dtype()));
    EXPECT_CLOSE_MAX(values(dw.tensor), want.dw, op_tolerance(DType::f32));
    EXPECT_CLOSE_MAX(values(db.tensor), want.db, op_tolerance(DType::f32));

    const OwnedTensor same_dw = tensor_of(DType::f32, c.w.tensor.shape(), dw_start);
    const OwnedTensor same_db = tensor_of(DType::f32, {s.M}, db_start);
    conv2d_backward(ctx, c.args, c.dy.tensor, {}, same_dw.tensor, same_db.tensor);
    EXPECT_EQ(values(same_dw.tensor), values(dw.tensor));
    EXPECT_EQ(values(same_db.tensor), values(db.tensor));
  }
}

TEST_P(ConvTest, SameBitsAtAnyNumberOfThreadsAndOnAnyInstructionSet) {
  const Size s{16, 3, 5, 20, 21, 3};
  const Case c(s, dtype());
  const auto run = [&](Context& where) {
    const OwnedTensor y(host(), DType::f32, {s.B, s.M, s.h, s.w}), dx(host(), dtype(), {s.B, s.C, s.h, s.w});
    const OwnedTensor dw(host(), DType::f32, c.w.tensor.shape()), db(host(), DType::f32, {s.M});
    const Arena::Mark before = where.arena().mark();
    conv2d_forward(where, c.args, y.tensor);
    conv2d_backward(where, c.args, c.dy.tensor, dx.tensor, dw.tensor, db.tensor);
    EXPECT_EQ(where.arena().mark(), before);
    return std::vector{values(y.tensor), values(dx.tensor), values(dw.tensor), values(db.tensor)};
  };
  const auto here = run(ctx);
  for (const int threads : {1, 3}) {
    Context other({.device = GetParam().device, .threads = threads, .isa = Isa::avx2});
    EXPECT_EQ(run(other), here) << threads << " threads";
  }
}

TEST_P(ConvTest, GradientsAgreeWithDifferences) {
  const Size s{2, 3, 4, 5, 6, 3};
  const Case c(s, DType::f32);
  const OwnedTensor y(host(), DType::f32, {s.B, s.M, s.h, s.w}), dx(host(), DType::f32, c.x.tensor.shape());
  const OwnedTensor dw(host(), DType::f32, c.w.tensor.shape()), db(host(), DType::f32, {s.M});
  conv2d_backward(ctx, c.args, c.dy.tensor, dx.tensor, dw.tensor, db.tensor);
  const auto loss = [&] {
    conv2d_forward(ctx, c.args, y.tensor);
    return projection(y.tensor, c.dy.tensor);
  };
  EXPECT_GRADIENT((Variable{"x", c.x.tensor, dx.tensor}), loss, 1e-4);
  EXPECT_GRADIENT((Variable{"w", c.w.tensor, dw.tensor}), loss, 1e-4);
  EXPECT_GRADIENT((Variable{"b", c.b.tensor, db.tensor}), loss, 1e-4);
}

TEST_P(ConvTest, RefusesWrongArguments) {
  const Case c({1, 2, 3, 4, 4, 3}, dtype()), wide({1, 4, 3, 4, 4, 3}, dtype());
  const OwnedTensor y(host(), DType::f32, {1, 3, 4, 4}), half(host(), DType::bf16, {1, 3, 4, 4}),
      even(host(), dtype(), {3, 2, 2, 2});
  const auto forward = [&](const Conv2dArgs& a, Tensor to) { return error_of([&] { conv2d_forward(ctx, a, to); }); };
  EXPECT_EQ(forward({wide.x.tensor, c.w.tensor, c.b.tensor}, y.tensor),
            "conv2d_forward: x [1, 4, 4, 4] and w [3, 2, 3, 3] disagree on C: 4 against 2");
  EXPECT_EQ(forward({c.x.tensor, even.tensor, c.b.tensor}, y.tensor),
            "conv2d_forward: w is [3, 2, 2, 2], wanted an odd square kernel");
  EXPECT_EQ(forward(c.args, half.tensor), "conv2d_forward: y is bf16 [1, 3, 4, 4], wanted f32 [1, 3, 4, 4]");
  const OwnedTensor dw(host(), DType::f32, {3, 2, 3, 3}), db(host(), DType::f32, {3});
  EXPECT_EQ(error_of([&] { conv2d_backward(ctx, c.args, c.dy.tensor, {}, dw.tensor, {}); }),
            "conv2d_backward: db is empty, wanted f32 [3]");
  EXPECT_EQ(error_of([&] { conv2d_backward(ctx, c.args, c.dy.tensor, y.tensor, dw.tensor, db.tensor); }),
            concat("conv2d_backward: dx is f32 [1, 3, 4, 4], wanted ", dtype(), " [1, 2, 4, 4]"));
}

}  // namespace
}  // namespace uvic::test
