#include "kernels/ops/wide_attention.h"

#include <cmath>

#include "kernels/ops/check.h"

namespace uvic {
namespace cpu {
void wide_attention(Context& ctx, const WideAttentionArgs& a, Tensor o);
}
namespace cuda {
void wide_attention(Context& ctx, const WideAttentionArgs& a, Tensor o);
}

void wide_attention(Context& ctx, const WideAttentionArgs& args, Tensor o) {
  constexpr const char* op = "wide_attention";
  WideAttentionArgs a = args;
  check_rank(op, "q", a.q, 2);
  check_dtype(op, "q", a.q, {DType::f32, DType::bf16});
  UVIC_CHECK(a.q.numel() > 0, op, ": q ", a.q.shape(), " has no elements");
  check(op, "k", a.k, a.q.dtype(), a.q.shape());
  check(op, "v", a.v, a.q.dtype(), a.q.shape());
  check(op, "o", o, DType::f32, a.q.shape());
  UVIC_CHECK(a.scale >= 0 && std::isfinite(a.scale), op, ": scale is ", a.scale, ", wanted 0 (1/sqrt(D)) or more");
  if (a.scale == 0) a.scale = 1 / std::sqrt(static_cast<float>(a.q.dim(1)));
  on_cpu(ctx) ? cpu::wide_attention(ctx, a, o) : cuda::wide_attention(ctx, a, o);
}

}  // namespace uvic
