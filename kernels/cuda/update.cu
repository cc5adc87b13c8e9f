#include "kernels/ops/update.h"

#include "kernels/cuda/launch.cuh"

namespace uvic::cuda {
namespace {

constexpr int64_t kPiece = 1 << 15;

// squared_norm_pieces_kernel: block i sums the squares of piece i.
__global__ void __launch_bounds__(kThreads) squared_norm_pieces_kernel(const float* x, int64_t n, double* sums) {
  const int64_t begin = blockIdx.x * kPiece, end = min(n, begin + kPiece);
  double sum = 0;
  for (int64_t i = begin + threadIdx.x; i < end; i += kThreads) sum += static_cast<double>(x[i]) * x[i];
  sum = block_sum(sum);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}
// squared_norm_finish_kernel: one block sums the pieces.
__global__ void __launch_bounds__(kThreads) squared_norm_finish_kernel(const double* sums, int64_t n, double* total) {
  double sum = 0;
  for (int64_t i = threadIdx.x; i < n; i += kThreads) sum += sums[i];
  sum = block_sum(sum);
  if (threadIdx.x == 0) *total = sum;
}

__global__ void set_rates_kernel(SweepScalars to, SweepScalars* sweep) { set_rates(*sweep, to); }

__global__ void clip_kernel(const double* square, double max_norm, SweepScalars* sweep) {
  clip(*sweep, *square, max_norm);
}

struct StopUnlessFinite {
  const float* x;
  SweepScalars* sweep;
  __device__ void operator()(int64_t i) const {
    if (!is_finite(x[i])) sweep->stopped = 1;  // whoever writes, writes this
  }
};

// As the CPU's, operation by operation: no fma, since the reference rounds each.
struct Update {
  const SweepScalars* sweep;
  float beta1, one_minus_beta1, beta2, one_minus_beta2, eps;
  float *param, *m, *v;
  const float* grad;
  bf16* working;  // may be null
  int averages;
  struct {
    float* ema;
    float rate, one_minus_rate;
  } average[kMaxAverages];

  __device__ void operator()(int64_t i) const {
    const SweepScalars s = *sweep;
    if (s.stopped != 0) return;
    const float g = grad[i] * s.grad_scale;
    const float new_m = beta1 * m[i] + one_minus_beta1 * g;
    const float new_v = beta2 * v[i] + one_minus_beta2 * g * g;
    const float p = param[i] * s.decay - s.step_size * new_m / (sqrtf(new_v) / s.root_correction2 + eps);
    param[i] = p;
    m[i] = new_m;
    v[i] = new_v;
    for (int k = 0; k < averages; ++k)
      average[k].ema[i] = average[k].ema[i] * average[k].rate + average[k].one_minus_rate * p;
    if (working) working[i] = to_bf16(p);
  }
};

SweepScalars* scalars_in(Tensor sweep) { return reinterpret_cast<SweepScalars*>(sweep.data<float>()); }

}  // namespace

void squared_norm(Context& ctx, Tensor x, Tensor square) {
  const auto scope = ctx.scope("squared_norm");
  const int64_t n = x.numel(), pieces = (n + kPiece - 1) / kPiece;
  double* sums = ctx.empty(DType::f64, {pieces}).data<double>();
  if (n > 0) launch(ctx, {static_cast<unsigned>(pieces)}, squared_norm_pieces_kernel, x.data<float>(), n, sums);
  launch(ctx, {1}, squared_norm_finish_kernel, sums, pieces, square.data<double>());
}

void set_rates(Context& ctx, const SweepScalars& rates, Tensor sweep) {
  launch(ctx, {1, 1}, set_rates_kernel, rates, scalars_in(sweep));
}

void stop_unless_finite(Context& ctx, Tensor x, Tensor sweep) {
  for_each(ctx, x.numel(), StopUnlessFinite{x.data<float>(), scalars_in(sweep)});
}

void clip(Context& ctx, Tensor square, double max_norm, Tensor sweep) {
  launch(ctx, {1, 1}, clip_kernel, square.data<double>(), max_norm, scalars_in(sweep));
}

void adamw_ema(Context& ctx, const AdamWArgs& a, Tensor sweep, Tensor param, Tensor grad, Tensor m, Tensor v,
               std::span<const Average> averages, Tensor working) {
  const auto f = [](double x) { return static_cast<float>(x); };
  Update update{.sweep = scalars_in(sweep),
                .beta1 = f(a.beta1),
                .one_minus_beta1 = f(1 - a.beta1),
                .beta2 = f(a.beta2),
                .one_minus_beta2 = f(1 - a.beta2),
                .eps = f(a.eps),
                .param = param.data<float>(),
                .m = m.data<float>(),
                .v = v.data<float>(),
                .grad = grad.data<float>(),
                .working = working ? working.data<bf16>() : nullptr,
                .averages = static_cast<int>(averages.size()),
                .average = {}};
  for (size_t k = 0; k < averages.size(); ++k)
    update.average[k] = {averages[k].ema.data<float>(), f(averages[k].rate), f(1 - averages[k].rate)};
  for_each(ctx, param.numel(), update);
}

}  // namespace uvic::cuda
