#include "kernels/ops/linear.h"

#include "kernels/ops/check.h"

namespace uvic {
namespace cpu {
void linear_forward(Context& ctx, const LinearArgs& a, Tensor y, Tensor pre);
void linear_backward(Context& ctx, const LinearBackwardArgs& a, Tensor dy, Tensor dx, Tensor dw, Tensor db);
void skip_linear_forward(Context& ctx, const SkipLinearArgs& a, Tensor y);
void skip_linear_backward(Context& ctx, const SkipLinearArgs& a, Tensor dy, Tensor dx, Tensor dskip, Tensor dw,
                          Tensor db);
OwnedTensor prepack_linear(Context& ctx, Tensor w);
OwnedTensor prepack_skip_linear(Context& ctx, Tensor w);
}  // namespace cpu
namespace cuda {
void linear_forward(Context& ctx, const LinearArgs& a, Tensor y, Tensor pre);
void linear_backward(Context& ctx, const LinearBackwardArgs& a, Tensor dy, Tensor dx, Tensor dw, Tensor db);
void skip_linear_forward(Context& ctx, const SkipLinearArgs& a, Tensor y);
void skip_linear_backward(Context& ctx, const SkipLinearArgs& a, Tensor dy, Tensor dx, Tensor dskip, Tensor dw,
                          Tensor db);
OwnedTensor prepack_linear(Context& ctx, Tensor w);
OwnedTensor prepack_skip_linear(Context& ctx, Tensor w);
}  // namespace cuda

namespace {

// What x [N, K] and w [M, inputs * K] must satisfy before any other shape can be derived from them.
void check_operands(const char* op, const Tensor& x, const Tensor& w, int inputs) {
  check_rank(op, "x", x, 2);
  check_rank(op, "w", w, 2);
  UVIC_CHECK(inputs * x.dim(1) == w.dim(1), op, ": x ", x.shape(), " and w ", w.shape(),
             " disagree on K: ", inputs * x.dim(1), " against ", w.dim(1));
  check_dtype(op, "x", x, {DType::f32, DType::bf16});
  UVIC_CHECK(w.dtype() == x.dtype(), op, ": w is ", w.dtype(), ", x is ", x.dtype());
  UVIC_CHECK(x.numel() > 0 && w.numel() > 0, op, ": x ", x.shape(), " and w ", w.shape(), " must have elements");
}

}  // namespace

void linear_forward(Context& ctx, const LinearArgs& a, Tensor y, Tensor pre) {
  constexpr const char* op = "linear_forward";
  check_operands(op, a.x, a.w, 1);
  const DType dtype = a.x.dtype();
  const Shape out{a.x.dim(0), a.w.dim(0)};
  check_optional(op, "b", a.b, dtype, {a.w.dim(0)});
  check_optional(op, "residual", a.residual, dtype, out);
  check(op, "y", y, dtype, out);
  check_optional(op, "pre", pre, dtype, out);
  on_cpu(ctx) ? cpu::linear_forward(ctx, a, y, pre) : cuda::linear_forward(ctx, a, y, pre);
}

void linear_backward(Context& ctx, const LinearBackwardArgs& a, Tensor dy, Tensor dx, Tensor dw, Tensor db) {
  constexpr const char* op = "linear_backward";
  const Tensor& x = a.x.empty() ? a.x_pre : a.x;
  check_operands(op, x, a.w, 1);
  const DType dtype = x.dtype();
  const Shape out{x.dim(0), a.w.dim(0)};
  UVIC_CHECK(dw.empty() || !a.x.empty(), op, ": dw needs x, which is empty");
  if (a.x_act != Activation::none) check(op, "x_pre", a.x_pre, dtype, x.shape());
  check(op, "dy", dy, dtype, out);
  check_optional(op, "dx", dx, dtype, x.shape());
  check_optional(op, "dw", dw, DType::f32, a.w.shape());
  check_optional(op, "db", db, DType::f32, {a.w.dim(0)});
  UVIC_CHECK(dx.empty() || dx.raw() != dy.raw(), op, ": dx aliases dy");
  UVIC_CHECK(dx.empty() || dx.raw() != a.x_pre.raw(), op, ": dx aliases x_pre");
  on_cpu(ctx) ? cpu::linear_backward(ctx, a, dy, dx, dw, db) : cuda::linear_backward(ctx, a, dy, dx, dw, db);
}

void skip_linear_forward(Context& ctx, const SkipLinearArgs& a, Tensor y) {
  constexpr const char* op = "skip_linear_forward";
  check_operands(op, a.x, a.w, 2);
  const DType dtype = a.x.dtype();
  check(op, "skip", a.skip, dtype, a.x.shape());
  check_optional(op, "b", a.b, dtype, {a.w.dim(0)});
  check(op, "y", y, dtype, {a.x.dim(0), a.w.dim(0)});
  on_cpu(ctx) ? cpu::skip_linear_forward(ctx, a, y) : cuda::skip_linear_forward(ctx, a, y);
}

void skip_linear_backward(Context& ctx, const SkipLinearArgs& a, Tensor dy, Tensor dx, Tensor dskip, Tensor dw,
                          Tensor db) {
  constexpr const char* op = "skip_linear_backward";
  check_operands(op, a.x, a.w, 2);
  const DType dtype = a.x.dtype();
  check(op, "skip", a.skip, dtype, a.x.shape());
  check(op, "dy", dy, dtype, {a.x.dim(0), a.w.dim(0)});
  check_optional(op, "dx", dx, dtype, a.x.shape());
  check_optional(op, "dskip", dskip, dtype, a.x.shape());
  check_optional(op, "dw", dw, DType::f32, a.w.shape());
  check_optional(op, "db", db, DType::f32, {a.w.dim(0)});
  UVIC_CHECK(dx.empty() || dx.raw() != dy.raw(), op, ": dx aliases dy");
  UVIC_CHECK(dskip.empty() || dskip.raw() != dy.raw(), op, ": dskip aliases dy");
  on_cpu(ctx) ? cpu::skip_linear_backward(ctx, a, dy, dx, dskip, dw, db)
              : cuda::skip_linear_backward(ctx, a, dy, dx, dskip, dw, db);
}

OwnedTensor prepack_linear(Context& ctx, Tensor w) {
  check_rank("prepack_linear", "w", w, 2);
  check_dtype("prepack_linear", "w", w, {DType::f32, DType::bf16});
  return on_cpu(ctx) ? cpu::prepack_linear(ctx, w) : cuda::prepack_linear(ctx, w);
}

OwnedTensor prepack_skip_linear(Context& ctx, Tensor w) {
  check_rank("prepack_skip_linear", "w", w, 2);
  check_dtype("prepack_skip_linear", "w", w, {DType::f32, DType::bf16});
  UVIC_CHECK(w.dim(1) % 2 == 0, "prepack_skip_linear: w ", w.shape(), " has no halves");
  return on_cpu(ctx) ? cpu::prepack_skip_linear(ctx, w) : cuda::prepack_skip_linear(ctx, w);
}

}  // namespace uvic
