#include "kernels/ops/mlp.h"

#include "kernels/ops/check.h"

namespace uvic {
namespace cpu {
void mlp_forward(Context& ctx, const MlpArgs& a, Tensor y, Tensor pre);
void mlp_backward(Context& ctx, const MlpBackwardArgs& a, Tensor dy, Tensor dx, Tensor dw1, Tensor db1, Tensor dw2,
                  Tensor db2);
}  // namespace cpu
namespace cuda {
void mlp_forward(Context& ctx, const MlpArgs& a, Tensor y, Tensor pre);
void mlp_backward(Context& ctx, const MlpBackwardArgs& a, Tensor dy, Tensor dx, Tensor dw1, Tensor db1, Tensor dw2,
                  Tensor db2);
}  // namespace cuda

namespace {

void check_operands(const char* op, const Tensor& x, const Tensor& w1, const Tensor& w2) {
  check_rank(op, "x", x, 2);
  check_rank(op, "w1", w1, 2);
  check_dtype(op, "x", x, {DType::f32, DType::bf16});
  check(op, "w1", w1, x.dtype(), {w1.dim(0), x.dim(1)});
  check(op, "w2", w2, x.dtype(), {x.dim(1), w1.dim(0)});
  UVIC_CHECK(x.numel() > 0 && w1.numel() > 0, op, ": x ", x.shape(), " and w1 ", w1.shape(), " must have elements");
}

}  // namespace

void mlp_forward(Context& ctx, const MlpArgs& a, Tensor y, Tensor pre) {
  constexpr const char* op = "mlp_forward";
  check_operands(op, a.x, a.w1, a.w2);
  const DType dtype = a.x.dtype();
  const int64_t hidden = a.w1.dim(0);
  check(op, "b1", a.b1, dtype, {hidden});
  check(op, "b2", a.b2, dtype, {a.x.dim(1)});
  check_optional(op, "residual", a.residual, dtype, a.x.shape());
  check(op, "y", y, dtype, a.x.shape());
  check_optional(op, "pre", pre, dtype, {a.x.dim(0), hidden});
  on_cpu(ctx) ? cpu::mlp_forward(ctx, a, y, pre) : cuda::mlp_forward(ctx, a, y, pre);
}

void mlp_backward(Context& ctx, const MlpBackwardArgs& a, Tensor dy, Tensor dx, Tensor dw1, Tensor db1, Tensor dw2,
                  Tensor db2) {
  constexpr const char* op = "mlp_backward";
  check_operands(op, a.x, a.w1, a.w2);
  const DType dtype = a.x.dtype();
  const int64_t hidden = a.w1.dim(0), width = a.x.dim(1);
  check(op, "pre", a.pre, dtype, {a.x.dim(0), hidden});
  check(op, "dy", dy, dtype, a.x.shape());
  check(op, "dx", dx, dtype, a.x.shape());
  check(op, "dw1", dw1, DType::f32, {hidden, width});
  check(op, "db1", db1, DType::f32, {hidden});
  check(op, "dw2", dw2, DType::f32, {width, hidden});
  check(op, "db2", db2, DType::f32, {width});
  UVIC_CHECK(dx.raw() != dy.raw(), op, ": dx aliases dy");
  UVIC_CHECK(dx.raw() != a.x.raw(), op, ": dx aliases x");  // which dw1 needs afterwards
  on_cpu(ctx) ? cpu::mlp_backward(ctx, a, dy, dx, dw1, db1, dw2, db2)
              : cuda::mlp_backward(ctx, a, dy, dx, dw1, db1, dw2, db2);
}

}  // namespace uvic
