#include "kernels/ops/update.h"

#include <algorithm>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd/update.h"

namespace uvic::cpu {
namespace {

constexpr int64_t kPiece = 1 << 15;

const UpdateKernels& kernels(const Context& ctx) { return pick(ctx, avx2::update_kernels, avx512::update_kernels); }

AdamWScalars scalars(const AdamWArgs& a, const SweepScalars& sweep) {
  const auto f = [](double x) { return static_cast<float>(x); };
  return {
      .grad_scale = sweep.grad_scale,
      .decay = sweep.decay,
      .beta1 = f(a.beta1),
      .one_minus_beta1 = f(1 - a.beta1),
      .beta2 = f(a.beta2),
      .one_minus_beta2 = f(1 - a.beta2),
      .root_correction2 = sweep.root_correction2,
      .eps = f(a.eps),
      .step_size = sweep.step_size,
  };
}

SweepScalars& scalars_in(Tensor sweep) { return *reinterpret_cast<SweepScalars*>(sweep.data<float>()); }

}  // namespace

void squared_norm(Context& ctx, Tensor x, Tensor square) {
  const auto scope = ctx.scope("squared_norm");
  const int64_t n = x.numel(), pieces = (n + kPiece - 1) / kPiece;
  double* sums = ctx.empty(DType::f64, {pieces}).data<double>();
  parallel_for(ctx, n, kPiece, [&](int64_t begin, int64_t end) {
    sums[begin / kPiece] = kernels(ctx).squared_norm(x.data<float>() + begin, end - begin);
  });
  double total = 0;
  for (int64_t i = 0; i < pieces; ++i) total += sums[i];
  *square.data<double>() = total;
}

void set_rates(Context&, const SweepScalars& rates, Tensor sweep) { set_rates(scalars_in(sweep), rates); }

void stop_unless_finite(Context&, Tensor x, Tensor sweep) {
  const float* values = x.data<float>();
  if (!std::all_of(values, values + x.numel(), [](float v) { return is_finite(double{v}); }))
    scalars_in(sweep).stopped = 1;
}

void clip(Context&, Tensor square, double max_norm, Tensor sweep) {
  clip(scalars_in(sweep), *square.data<double>(), max_norm);
}

void adamw_ema(Context& ctx, const AdamWArgs& a, Tensor sweep, Tensor param, Tensor grad, Tensor m, Tensor v,
               std::span<const Average> averages, Tensor working) {
  if (scalars_in(sweep).stopped != 0) return;
  const AdamWScalars s = scalars(a, scalars_in(sweep));
  parallel_for(ctx, param.numel(), kPiece, [&](int64_t begin, int64_t end) {
    AverageScalars each[kMaxAverages];
    for (size_t k = 0; k < averages.size(); ++k) {
      const double rate = averages[k].rate;
      each[k] = {averages[k].ema.data<float>() + begin, static_cast<float>(rate), static_cast<float>(1 - rate)};
    }
    kernels(ctx).adamw_ema(s, end - begin, param.data<float>() + begin, grad.data<float>() + begin,
                           m.data<float>() + begin, v.data<float>() + begin, each, static_cast<int>(averages.size()),
                           working ? working.data<bf16>() + begin : nullptr);
  });
}

}  // namespace uvic::cpu
