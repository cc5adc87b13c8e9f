// The optimizer's two sweeps over all parameters: far larger than the caches, so memory decides.

#include "kernels/ops/update.h"

#include "model/uvic.h"
#include "tests/bench/cases.h"

namespace uvic {
namespace {

int64_t parameters(const UViCConfig& c) {
  ParamStore store({});
  const UViC net(store, c);
  return store.count();
}

void squared_norm_job(Context& ctx, const UViCConfig& c, DType, Job& job) {
  const Tensor x = job.random(DType::f32, {parameters(c)});
  job.bytes = static_cast<double>(x.bytes());
  job.label = x.shape().str();
  job.run = [=, &ctx] { (void)squared_norm(ctx, x); };
}

// bf16: also writes the working weights. f32: the master weights are the working ones.
void adamw_job(Context& ctx, const UViCConfig& c, DType dtype, Job& job) {
  const Shape n{parameters(c)};
  if (static_cast<size_t>(n.numel()) * 22 > available_host_memory() / 4 * 3) return;
  const Tensor param = job.zeros(DType::f32, n), grad = job.zeros(DType::f32, n), m = job.zeros(DType::f32, n);
  const Tensor v = job.zeros(DType::f32, n), ema = job.zeros(DType::f32, n);
  const Tensor working = dtype == DType::bf16 ? job.zeros(dtype, n) : Tensor{};
  const Tensor sweep = job.zeros(DType::f32, {kSweepScalars});
  set_rates(ctx, {}, sweep);
  job.bytes = static_cast<double>(n.numel()) * (9 * 4 + (working ? 2 : 0));  // all are read, all but grad written
  job.label = n.str();
  job.run = [=, &ctx] {
    const Average average{ema};
    adamw_ema(ctx, {}, sweep, param, grad, m, v, {&average, 1}, working);
  };
}

const bool registered = [] {
  register_cases("squared_norm", networks(), f32_only(), vector_isas(), squared_norm_job);
  register_cases("adamw_ema", networks(), working_dtypes(), vector_isas(), adamw_job);
  return true;
}();

}  // namespace
}  // namespace uvic
