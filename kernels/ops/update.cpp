#include "kernels/ops/update.h"

#include <cmath>

#include "kernels/ops/check.h"
#include "kernels/ops/transfer.h"

namespace uvic {
namespace cpu {
void squared_norm(Context& ctx, Tensor x, Tensor square);
void set_rates(Context& ctx, const SweepScalars& rates, Tensor sweep);
void stop_unless_finite(Context& ctx, Tensor x, Tensor sweep);
void clip(Context& ctx, Tensor square, double max_norm, Tensor sweep);
void adamw_ema(Context& ctx, const AdamWArgs& a, Tensor sweep, Tensor param, Tensor grad, Tensor m, Tensor v,
               std::span<const Average> averages, Tensor working);
}  // namespace cpu
namespace cuda {
void squared_norm(Context& ctx, Tensor x, Tensor square);
void set_rates(Context& ctx, const SweepScalars& rates, Tensor sweep);
void stop_unless_finite(Context& ctx, Tensor x, Tensor sweep);
void clip(Context& ctx, Tensor square, double max_norm, Tensor sweep);
void adamw_ema(Context& ctx, const AdamWArgs& a, Tensor sweep, Tensor param, Tensor grad, Tensor m, Tensor v,
               std::span<const Average> averages, Tensor working);
}  // namespace cuda

namespace {

void check_square(const char* op, const Tensor& square) { check(op, "square", square, DType::f64, {1}); }
void check_sweep(const char* op, const Tensor& sweep) { check(op, "sweep", sweep, DType::f32, {kSweepScalars}); }
void check_betas(const char* op, const AdamWArgs& a) {
  UVIC_CHECK(0 <= a.beta1 && a.beta1 < 1 && 0 <= a.beta2 && a.beta2 < 1, op, ": betas are ", a.beta1, ", ", a.beta2,
             ", wanted [0, 1)");
}

}  // namespace

double squared_norm(Context& ctx, Tensor x) {
  const Arena::Mark begin = ctx.arena().mark();
  const Tensor square = ctx.empty(DType::f64, {1});
  squared_norm(ctx, x, square);
  const OwnedTensor read = on_host(ctx, square);
  ctx.arena().rewind(begin);
  return *read.tensor.data<double>();
}

void squared_norm(Context& ctx, Tensor x, Tensor square) {
  constexpr const char* op = "squared_norm";
  check_rank(op, "x", x, 1);
  check_dtype(op, "x", x, {DType::f32});
  check_square(op, square);
  on_cpu(ctx) ? cpu::squared_norm(ctx, x, square) : cuda::squared_norm(ctx, x, square);
}

void set_rates(Context& ctx, const AdamWArgs& a, Tensor sweep) {
  constexpr const char* op = "set_rates";
  check_sweep(op, sweep);
  UVIC_CHECK(a.step >= 1, op, ": step is ", a.step, ", wanted 1 or more");
  check_betas(op, a);
  const double t = static_cast<double>(a.step);
  const SweepScalars rates{.decay = static_cast<float>(1 - a.lr * a.weight_decay),
                           .root_correction2 = static_cast<float>(std::sqrt(1 - std::pow(a.beta2, t))),
                           .step_size = static_cast<float>(a.lr / (1 - std::pow(a.beta1, t))),
                           .grad_scale = 0,
                           .stopped = 0};
  on_cpu(ctx) ? cpu::set_rates(ctx, rates, sweep) : cuda::set_rates(ctx, rates, sweep);
}

void stop_unless_finite(Context& ctx, Tensor x, Tensor sweep) {
  constexpr const char* op = "stop_unless_finite";
  check_rank(op, "x", x, 1);
  check_dtype(op, "x", x, {DType::f32});
  check_sweep(op, sweep);
  on_cpu(ctx) ? cpu::stop_unless_finite(ctx, x, sweep) : cuda::stop_unless_finite(ctx, x, sweep);
}

void clip(Context& ctx, Tensor square, double max_norm, Tensor sweep) {
  constexpr const char* op = "clip";
  check_square(op, square);
  check_sweep(op, sweep);
  UVIC_CHECK(max_norm >= 0, op, ": max_norm is ", max_norm, ", wanted 0 or more");
  on_cpu(ctx) ? cpu::clip(ctx, square, max_norm, sweep) : cuda::clip(ctx, square, max_norm, sweep);
}

void adamw_ema(Context& ctx, const AdamWArgs& a, Tensor sweep, Tensor param, Tensor grad, Tensor m, Tensor v,
               std::span<const Average> averages, Tensor working) {
  constexpr const char* op = "adamw_ema";
  check_sweep(op, sweep);
  check_rank(op, "param", param, 1);
  check_dtype(op, "param", param, {DType::f32});
  check(op, "grad", grad, DType::f32, param.shape());
  check(op, "m", m, DType::f32, param.shape());
  check(op, "v", v, DType::f32, param.shape());
  UVIC_CHECK(averages.size() <= kMaxAverages, op, ": ", averages.size(), " averages, wanted ", kMaxAverages,
             " or fewer");
  for (const Average& average : averages) check(op, "ema", average.ema, DType::f32, param.shape());
  check_optional(op, "working", working, DType::bf16, param.shape());
  check_betas(op, a);
  on_cpu(ctx) ? cpu::adamw_ema(ctx, a, sweep, param, grad, m, v, averages, working)
              : cuda::adamw_ema(ctx, a, sweep, param, grad, m, v, averages, working);
}

}  // namespace uvic
