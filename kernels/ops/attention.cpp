#include "kernels/ops/attention.h"

#include <cmath>

#include "kernels/ops/check.h"

namespace uvic {
namespace cpu {
void attention_forward(Context& ctx, const AttentionArgs& a, Tensor o, Tensor stat);
void attention_backward(Context& ctx, const AttentionArgs& a, Tensor o, Tensor stat, Tensor grad_o, Tensor dqkv);
}  // namespace cpu
namespace cuda {
void attention_forward(Context& ctx, const AttentionArgs& a, Tensor o, Tensor stat);
void attention_backward(Context& ctx, const AttentionArgs& a, Tensor o, Tensor stat, Tensor grad_o, Tensor dqkv);
}  // namespace cuda

namespace {

// Checks what both passes take. Returns the arguments with their scale filled in, which backends rely on.
AttentionArgs checked(const char* op, AttentionArgs a, const Tensor& o) {
  check_rank(op, "qkv", a.qkv, 5);
  check_dtype(op, "qkv", a.qkv, {DType::f32, DType::bf16});
  const Shape& s = a.qkv.shape();
  UVIC_CHECK(s[2] == 3, op, ": qkv is ", s, ", wanted [B, L, 3, H, D]");
  UVIC_CHECK(s.numel() > 0, op, ": qkv ", s, " has no elements");
  UVIC_CHECK(s[4] <= 128, op, ": head width D is ", s[4], " in qkv ", s, ", wanted 1 to 128");
  UVIC_CHECK(a.scale >= 0 && std::isfinite(a.scale), op, ": scale is ", a.scale, ", wanted 0 (the kind's own) or more");
  check(op, "o", o, a.qkv.dtype(), {s[0], s[1], s[3], s[4]});
  if (a.scale == 0) a.scale = a.kind == AttentionKind::expressive ? 1 : 1 / std::sqrt(static_cast<float>(s[4]));
  return a;
}

}  // namespace

void attention_forward(Context& ctx, const AttentionArgs& args, Tensor o, Tensor stat) {
  constexpr const char* op = "attention_forward";
  const AttentionArgs a = checked(op, args, o);
  const Shape& s = a.qkv.shape();
  check_optional(op, "stat", stat, DType::f32, {s[0], s[3], s[1]});
  on_cpu(ctx) ? cpu::attention_forward(ctx, a, o, stat) : cuda::attention_forward(ctx, a, o, stat);
}

void attention_backward(Context& ctx, const AttentionArgs& args, Tensor o, Tensor stat, Tensor grad_o, Tensor dqkv) {
  constexpr const char* op = "attention_backward";
  const AttentionArgs a = checked(op, args, o);
  const Shape& s = a.qkv.shape();
  check(op, "stat", stat, DType::f32, {s[0], s[3], s[1]});
  check(op, "grad_o", grad_o, a.qkv.dtype(), o.shape());
  check(op, "dqkv", dqkv, a.qkv.dtype(), s);
  UVIC_CHECK(dqkv.raw() != a.qkv.raw(), op, ": dqkv aliases qkv");
  on_cpu(ctx) ? cpu::attention_backward(ctx, a, o, stat, grad_o, dqkv)
              : cuda::attention_backward(ctx, a, o, stat, grad_o, dqkv);
}

}  // namespace uvic
