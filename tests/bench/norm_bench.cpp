// Layer norm over the networks' tokens: memory decides.

#include "kernels/ops/norm.h"

#include "tests/bench/cases.h"

namespace uvic {
namespace {

LayerNormArgs arguments(const UViCConfig& c, DType dtype, Job& job) {
  const int64_t N = kBatch * c.tokens(), C = c.embed_dim;
  job.label = concat("[", N, ", ", C, "]");
  return {job.random(dtype, {N, C}), job.random(dtype, {C}), job.random(dtype, {C})};
}

void forward(Context& ctx, const UViCConfig& c, DType dtype, Job& job) {
  const LayerNormArgs args = arguments(c, dtype, job);
  const Tensor y = job.zeros(dtype, args.x.shape()), stats = job.zeros(DType::f32, {args.x.dim(0), 2});
  job.bytes = static_cast<double>(2 * args.x.bytes() + stats.bytes());
  job.run = [=, &ctx] { layernorm_forward(ctx, args, y, stats); };
}

void backward(Context& ctx, const UViCConfig& c, DType dtype, Job& job) {
  const LayerNormArgs args = arguments(c, dtype, job);
  const Tensor dy = job.random(dtype, args.x.shape()), dx = job.zeros(dtype, args.x.shape());
  const Tensor stats = job.zeros(DType::f32, {args.x.dim(0), 2});
  const Tensor dw = job.zeros(DType::f32, args.w.shape()), db = job.zeros(DType::f32, args.w.shape());
  layernorm_forward(ctx, args, dx, stats);
  job.bytes = static_cast<double>(4 * args.x.bytes() + stats.bytes());  // dx is read and written
  job.run = [=, &ctx] { layernorm_backward(ctx, args, stats, dy, dx, dw, db); };
}

const bool registered = [] {
  register_cases("layernorm/forward", networks(), working_dtypes(), vector_isas(), forward);
  register_cases("layernorm/backward", networks(), working_dtypes(), vector_isas(), backward);
  return true;
}();

}  // namespace
}  // namespace uvic
