#include "kernels/ops/norm.h"

#include "kernels/ops/check.h"

namespace uvic {
namespace cpu {
void layernorm_forward(Context& ctx, const LayerNormArgs& a, Tensor y, Tensor stats);
void layernorm_backward(Context& ctx, const LayerNormArgs& a, Tensor stats, Tensor dy, Tensor dx, Tensor dw, Tensor db);
}  // namespace cpu
namespace cuda {
void layernorm_forward(Context& ctx, const LayerNormArgs& a, Tensor y, Tensor stats);
void layernorm_backward(Context& ctx, const LayerNormArgs& a, Tensor stats, Tensor dy, Tensor dx, Tensor dw, Tensor db);
}  // namespace cuda

namespace {

void check_args(const char* op, const LayerNormArgs& a) {
  check_rank(op, "x", a.x, 2);
  check_dtype(op, "x", a.x, {DType::f32, DType::bf16});
  UVIC_CHECK(a.x.dim(1) > 0, op, ": x ", a.x.shape(), " has no channels");
  check(op, "w", a.w, a.x.dtype(), {a.x.dim(1)});
  check(op, "b", a.b, a.x.dtype(), {a.x.dim(1)});
  UVIC_CHECK(a.eps > 0, op, ": eps is ", a.eps, ", wanted more than 0");
}

}  // namespace

void layernorm_forward(Context& ctx, const LayerNormArgs& a, Tensor y, Tensor stats) {
  constexpr const char* op = "layernorm_forward";
  check_args(op, a);
  check(op, "y", y, a.x.dtype(), a.x.shape());
  check_optional(op, "stats", stats, DType::f32, {a.x.dim(0), 2});
  on_cpu(ctx) ? cpu::layernorm_forward(ctx, a, y, stats) : cuda::layernorm_forward(ctx, a, y, stats);
}

void layernorm_backward(Context& ctx, const LayerNormArgs& a, Tensor stats, Tensor dy, Tensor dx, Tensor dw,
                        Tensor db) {
  constexpr const char* op = "layernorm_backward";
  check_args(op, a);
  check(op, "stats", stats, DType::f32, {a.x.dim(0), 2});
  check(op, "dy", dy, a.x.dtype(), a.x.shape());
  check(op, "dx", dx, a.x.dtype(), a.x.shape());
  check(op, "dw", dw, DType::f32, {a.x.dim(1)});
  check(op, "db", db, DType::f32, {a.x.dim(1)});
  UVIC_CHECK(dx.raw() != dy.raw(), op, ": dx aliases dy");
  on_cpu(ctx) ? cpu::layernorm_backward(ctx, a, stats, dy, dx, dw, db)
              : cuda::layernorm_backward(ctx, a, stats, dy, dx, dw, db);
}

}  // namespace uvic
