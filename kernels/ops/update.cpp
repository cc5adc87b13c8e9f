#include "kernels/ops/update.h"

#include "kernels/ops/check.h"

namespace uvic {
namespace cpu {
double squared_norm(Context& ctx, Tensor x);
void adamw_ema(Context& ctx, const AdamWArgs& a, Tensor param, Tensor grad, Tensor m, Tensor v,
               std::span<const Average> averages, Tensor working);
}  // namespace cpu
namespace cuda {
double squared_norm(Context& ctx, Tensor x);
void adamw_ema(Context& ctx, const AdamWArgs& a, Tensor param, Tensor grad, Tensor m, Tensor v,
               std::span<const Average> averages, Tensor working);
}  // namespace cuda

double squared_norm(Context& ctx, Tensor x) {
  constexpr const char* op = "squared_norm";
  check_rank(op, "x", x, 1);
  check_dtype(op, "x", x, {DType::f32});
  return on_cpu(ctx) ? cpu::squared_norm(ctx, x) : cuda::squared_norm(ctx, x);
}

void adamw_ema(Context& ctx, const AdamWArgs& a, Tensor param, Tensor grad, Tensor m, Tensor v,
               std::span<const Average> averages, Tensor working) {
  constexpr const char* op = "adamw_ema";
  check_rank(op, "param", param, 1);
  check_dtype(op, "param", param, {DType::f32});
  check(op, "grad", grad, DType::f32, param.shape());
  check(op, "m", m, DType::f32, param.shape());
  check(op, "v", v, DType::f32, param.shape());
  UVIC_CHECK(averages.size() <= kMaxAverages, op, ": ", averages.size(), " averages, wanted ", kMaxAverages,
             " or fewer");
  for (const Average& average : averages) check(op, "ema", average.ema, DType::f32, param.shape());
  check_optional(op, "working", working, DType::bf16, param.shape());
  UVIC_CHECK(a.step >= 1, op, ": step is ", a.step, ", wanted 1 or more");
  UVIC_CHECK(0 <= a.beta1 && a.beta1 < 1 && 0 <= a.beta2 && a.beta2 < 1, op, ": betas are ", a.beta1, ", ", a.beta2,
             ", wanted [0, 1)");
  on_cpu(ctx) ? cpu::adamw_ema(ctx, a, param, grad, m, v, averages, working)
              : cuda::adamw_ema(ctx, a, param, grad, m, v, averages, working);
}

}  // namespace uvic
