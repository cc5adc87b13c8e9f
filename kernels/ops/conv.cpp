#include "kernels/ops/conv.h"

#include "kernels/ops/check.h"

namespace uvic {
namespace cpu {
void conv2d_forward(Context& ctx, const Conv2dArgs& a, Tensor y);
void conv2d_backward(Context& ctx, const Conv2dArgs& a, Tensor dy, Tensor dx, Tensor dw, Tensor db);
}  // namespace cpu
namespace cuda {
void conv2d_forward(Context& ctx, const Conv2dArgs& a, Tensor y);
void conv2d_backward(Context& ctx, const Conv2dArgs& a, Tensor dy, Tensor dx, Tensor dw, Tensor db);
}  // namespace cuda

namespace {

// Returns the shape of y.
Shape check_args(const char* op, const Conv2dArgs& a) {
  check_rank(op, "x", a.x, 4);
  check_rank(op, "w", a.w, 4);
  check_dtype(op, "x", a.x, {DType::f32, DType::bf16});
  UVIC_CHECK(a.x.dim(1) == a.w.dim(1), op, ": x ", a.x.shape(), " and w ", a.w.shape(), " disagree on C: ", a.x.dim(1),
             " against ", a.w.dim(1));
  const int64_t k = a.w.dim(2);
  UVIC_CHECK(k == a.w.dim(3) && k % 2 == 1, op, ": w is ", a.w.shape(), ", wanted an odd square kernel");
  check(op, "w", a.w, a.x.dtype(), {a.w.dim(0), a.x.dim(1), k, k});
  check(op, "b", a.b, a.x.dtype(), {a.w.dim(0)});
  return {a.x.dim(0), a.w.dim(0), a.x.dim(2), a.x.dim(3)};
}

}  // namespace

void conv2d_forward(Context& ctx, const Conv2dArgs& a, Tensor y) {
  constexpr const char* op = "conv2d_forward";
  check(op, "y", y, DType::f32, check_args(op, a));
  UVIC_CHECK(y.raw() != a.x.raw(), op, ": y aliases x");
  on_cpu(ctx) ? cpu::conv2d_forward(ctx, a, y) : cuda::conv2d_forward(ctx, a, y);
}

void conv2d_backward(Context& ctx, const Conv2dArgs& a, Tensor dy, Tensor dx, Tensor dw, Tensor db) {
  constexpr const char* op = "conv2d_backward";
  check(op, "dy", dy, DType::f32, check_args(op, a));
  check_optional(op, "dx", dx, a.x.dtype(), a.x.shape());
  check(op, "dw", dw, DType::f32, a.w.shape());
  check(op, "db", db, DType::f32, {a.w.dim(0)});
  UVIC_CHECK(dx.raw() != dy.raw(), op, ": dx aliases dy");
  on_cpu(ctx) ? cpu::conv2d_backward(ctx, a, dy, dx, dw, db) : cuda::conv2d_backward(ctx, a, dy, dx, dw, db);
}

}  // namespace uvic
