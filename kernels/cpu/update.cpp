#include "kernels/ops/update.h"

#include <cmath>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd/update.h"

namespace uvic::cpu {
namespace {

constexpr int64_t kPiece = 1 << 15;

const UpdateKernels& kernels(const Context& ctx) { return pick(ctx, avx2::update_kernels, avx512::update_kernels); }

AdamWScalars scalars(const AdamWArgs& a) {
  const double t = static_cast<double>(a.step);
  const auto f = [](double x) { return static_cast<float>(x); };
  return {
      .grad_scale = f(a.grad_scale),
      .decay = f(1 - a.lr * a.weight_decay),
      .beta1 = f(a.beta1),
      .one_minus_beta1 = f(1 - a.beta1),
      .beta2 = f(a.beta2),
      .one_minus_beta2 = f(1 - a.beta2),
      .root_correction2 = f(std::sqrt(1 - std::pow(a.beta2, t))),
      .eps = f(a.eps),
      .step_size = f(a.lr / (1 - std::pow(a.beta1, t))),
  };
}

}  // namespace

double squared_norm(Context& ctx, Tensor x) {
  const auto scope = ctx.scope("squared_norm");
  const int64_t n = x.numel(), pieces = (n + kPiece - 1) / kPiece;
  double* sums = ctx.empty(DType::f64, {pieces}).data<double>();
  parallel_for(ctx, n, kPiece, [&](int64_t begin, int64_t end) {
    sums[begin / kPiece] = kernels(ctx).squared_norm(x.data<float>() + begin, end - begin);
  });
  double total = 0;
  for (int64_t i = 0; i < pieces; ++i) total += sums[i];
  return total;
}

void adamw_ema(Context& ctx, const AdamWArgs& a, Tensor param, Tensor grad, Tensor m, Tensor v,
               std::span<const Average> averages, Tensor working) {
  const AdamWScalars s = scalars(a);
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
