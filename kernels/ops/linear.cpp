#include "kernels/ops/linear.h"

namespace uvic {
namespace cpu {
void linear_forward(Context& ctx, const LinearArgs& a, Tensor y, Tensor pre);
void linear_backward(Context& ctx, const LinearArgs& a, Tensor pre, Tensor dy, Tensor dx, Tensor dw, Tensor db);
void skip_linear_forward(Context& ctx, const SkipLinearArgs& a, Tensor y);
void skip_linear_backward(Context& ctx, const SkipLinearArgs& a, Tensor dy, Tensor dx, Tensor dskip, Tensor dw,
                          Tensor db);
}  // namespace cpu
namespace cuda {
void linear_forward(Context& ctx, const LinearArgs& a, Tensor y, Tensor pre);
void linear_backward(Context& ctx, const LinearArgs& a, Tensor pre, Tensor dy, Tensor dx, Tensor dw, Tensor db);
void skip_linear_forward(Context& ctx, const SkipLinearArgs& a, Tensor y);
void skip_linear_backward(Context& ctx, const SkipLinearArgs& a, Tensor dy, Tensor dx, Tensor dskip, Tensor dw,
                          Tensor db);
}  // namespace cuda

namespace {

bool on_cpu(const Context& ctx) { return ctx.device().kind == DeviceKind::cpu; }

// Checks one tensor of op against the shape and dtype the others imply. An empty one passes where it is optional.
void check(const char* op, const char* name, const Tensor& t, const Shape& shape, DType dtype, bool optional = false) {
  if (t.empty() && optional) return;
  UVIC_CHECK(!t.empty(), op, ": ", name, " is empty, wanted ", dtype, " ", shape);
  UVIC_CHECK(t.shape() == shape && t.dtype() == dtype, op, ": ", name, " is ", t.dtype(), " ", t.shape(), ", wanted ",
             dtype, " ", shape);
}

// What x [N, K] and w [M, width] must satisfy before any other shape can be derived from them; K is width / inputs.
void check_operands(const char* op, const Tensor& x, const Tensor& w, int inputs) {
  UVIC_CHECK(!x.empty() && !w.empty(), op, ": ", x.empty() ? "x" : "w", " is empty");
  UVIC_CHECK(x.rank() == 2 && w.rank() == 2, op, ": x ", x.shape(), " and w ", w.shape(), " must have rank 2");
  UVIC_CHECK(inputs * x.dim(1) == w.dim(1), op, ": x ", x.shape(), " and w ", w.shape(),
             " disagree on K: ", inputs * x.dim(1), " against ", w.dim(1));
  UVIC_CHECK(x.dtype() == DType::f32 || x.dtype() == DType::bf16, op, ": x is ", x.dtype(), ", wanted f32 or bf16");
  UVIC_CHECK(w.dtype() == x.dtype(), op, ": w is ", w.dtype(), ", x is ", x.dtype());
}

}  // namespace

void linear_forward(Context& ctx, const LinearArgs& a, Tensor y, Tensor pre) {
  constexpr const char* op = "linear_forward";
  check_operands(op, a.x, a.w, 1);
  const DType dtype = a.x.dtype();
  const Shape out{a.x.dim(0), a.w.dim(0)};
  check(op, "b", a.b, {a.w.dim(0)}, dtype, true);
  check(op, "residual", a.residual, out, dtype, true);
  check(op, "y", y, out, dtype);
  check(op, "pre", pre, out, dtype, true);
  on_cpu(ctx) ? cpu::linear_forward(ctx, a, y, pre) : cuda::linear_forward(ctx, a, y, pre);
}

void linear_backward(Context& ctx, const LinearArgs& a, Tensor pre, Tensor dy, Tensor dx, Tensor dw, Tensor db) {
  constexpr const char* op = "linear_backward";
  check_operands(op, a.x, a.w, 1);
  const DType dtype = a.x.dtype();
  const Shape out{a.x.dim(0), a.w.dim(0)};
  check(op, "pre", pre, out, dtype, a.act == Activation::none);
  check(op, "dy", dy, out, dtype);
  check(op, "dx", dx, a.x.shape(), dtype, true);
  check(op, "dw", dw, a.w.shape(), DType::f32, true);
  check(op, "db", db, {a.w.dim(0)}, DType::f32, true);
  UVIC_CHECK(dx.empty() || dx.raw() != dy.raw(), op, ": dx aliases dy");
  on_cpu(ctx) ? cpu::linear_backward(ctx, a, pre, dy, dx, dw, db) : cuda::linear_backward(ctx, a, pre, dy, dx, dw, db);
}

void skip_linear_forward(Context& ctx, const SkipLinearArgs& a, Tensor y) {
  constexpr const char* op = "skip_linear_forward";
  check_operands(op, a.x, a.w, 2);
  const DType dtype = a.x.dtype();
  check(op, "skip", a.skip, a.x.shape(), dtype);
  check(op, "b", a.b, {a.w.dim(0)}, dtype, true);
  check(op, "y", y, {a.x.dim(0), a.w.dim(0)}, dtype);
  on_cpu(ctx) ? cpu::skip_linear_forward(ctx, a, y) : cuda::skip_linear_forward(ctx, a, y);
}

void skip_linear_backward(Context& ctx, const SkipLinearArgs& a, Tensor dy, Tensor dx, Tensor dskip, Tensor dw,
                          Tensor db) {
  constexpr const char* op = "skip_linear_backward";
  check_operands(op, a.x, a.w, 2);
  const DType dtype = a.x.dtype();
  check(op, "skip", a.skip, a.x.shape(), dtype);
  check(op, "dy", dy, {a.x.dim(0), a.w.dim(0)}, dtype);
  check(op, "dx", dx, a.x.shape(), dtype, true);
  check(op, "dskip", dskip, a.x.shape(), dtype, true);
  check(op, "dw", dw, a.w.shape(), DType::f32, true);
  check(op, "db", db, {a.w.dim(0)}, DType::f32, true);
  UVIC_CHECK(dx.empty() || dx.raw() != dy.raw(), op, ": dx aliases dy");
  UVIC_CHECK(dskip.empty() || dskip.raw() != dy.raw(), op, ": dskip aliases dy");
  on_cpu(ctx) ? cpu::skip_linear_backward(ctx, a, dy, dx, dskip, dw, db)
              : cuda::skip_linear_backward(ctx, a, dy, dx, dskip, dw, db);
}

}  // namespace uvic
