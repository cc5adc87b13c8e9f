#pragma once

// Inputs of an attention test, what the plain loops make of them, and what the op makes of them.

#include "kernels/ops/attention.h"
#include "tests/check.h"
#include "tests/reference/attention.h"

namespace uvic::test {

using reference::AttentionCase;

inline constexpr AttentionKind kKinds[] = {AttentionKind::softmax, AttentionKind::cog, AttentionKind::expressive};

inline double own_scale(AttentionKind kind, int64_t D) {
  return kind == AttentionKind::expressive ? 1 : 1 / std::sqrt(static_cast<double>(D));
}

// Size of inputs that gives every kind and width the same spread of scores, about 1.3.
inline double input_size(AttentionKind kind, int64_t D) {
  return kind == AttentionKind::expressive ? 2 * std::pow(static_cast<double>(D), -0.25) : 2;
}

// Inputs and what must come of them. Cog attention jumps where a score is 0, so a score that rounding could push across
// 0 would make the truth itself doubtful: rows of q that have one are drawn again.
struct AttentionData {
  AttentionCase c;
  OwnedTensor qkv, grad_o;
  std::vector<double> o, stat, dqkv;

  AttentionData(AttentionCase shape, DType dtype, uint64_t seed, double size = 0) : c(shape) {
    if (size == 0) size = input_size(c.kind, c.D);
    qkv = random_tensor(dtype, {c.B, c.L, 3, c.H, c.D}, seed, size);
    grad_o = random_tensor(dtype, {c.B, c.L, c.H, c.D}, seed + 1);
    std::vector<double> x = values(qkv.tensor);
    for (int64_t b = 0; b < c.B; ++b)
      for (int64_t h = 0; h < c.H; ++h)
        for (int64_t i = 0; i < c.L; ++i)
          for (uint64_t again = 0; doubtful(reference::attention_scores(c, x, b, h, i)); ++again) {
            const uint64_t row = static_cast<uint64_t>((b * c.H + h) * c.L + i);
            const OwnedTensor q = random_tensor(dtype, {c.D}, seed + 1000 * (row + 1) + again, size);
            const std::vector<double> fresh = values(q.tensor);
            std::copy(fresh.begin(), fresh.end(), x.begin() + reference::qkv_at(c, b, i, 0, h));
          }
    assign(qkv.tensor, x);
    compute();
  }

  void compute() {
    const std::vector<double> x = values(qkv.tensor);
    o = reference::attention_forward(c, x);
    dqkv = reference::attention_backward(c, x, values(grad_o.tensor));
    stat.clear();
    for (int64_t b = 0; b < c.B; ++b)
      for (int64_t h = 0; h < c.H; ++h)
        for (int64_t i = 0; i < c.L; ++i)
          stat.push_back(reference::attention_stat(c.kind, reference::attention_scores(c, x, b, h, i)));
  }

  AttentionArgs args() const { return {.qkv = qkv.tensor, .kind = c.kind, .causal = c.causal}; }

 private:
  static bool doubtful(const std::vector<double>& scores) {
    double largest = 0;
    for (const double z : scores) largest = std::max(largest, std::abs(z));
    return std::any_of(scores.begin(), scores.end(), [&](double z) { return z != 0 && std::abs(z) < 3e-6 * largest; });
  }
};

struct AttentionResult {
  std::vector<double> o, stat, dqkv;
};

// Outputs start as NaN: an element that is not written shows.
inline AttentionResult run(Context& ctx, const AttentionData& data) {
  const AttentionCase& c = data.c;
  const auto unwritten = [](DType dtype, Shape shape) {
    return tensor_of(dtype, shape, std::vector<double>(static_cast<size_t>(shape.numel()), std::nan("")));
  };
  const OwnedTensor o = unwritten(data.qkv.tensor.dtype(), data.grad_o.tensor.shape());
  const OwnedTensor stat = unwritten(DType::f32, {c.B, c.H, c.L});
  const OwnedTensor dqkv = unwritten(data.qkv.tensor.dtype(), data.qkv.tensor.shape());
  attention_forward(ctx, data.args(), o.tensor, stat.tensor);
  attention_backward(ctx, data.args(), o.tensor, stat.tensor, data.grad_o.tensor, dqkv.tensor);
  return {values(o.tensor), values(stat.tensor), values(dqkv.tensor)};
}

// Part 0, 1 or 2 (q, k, v) of [B, L, 3, H, D].
inline std::vector<double> part_of(const AttentionCase& c, const std::vector<double>& qkv, int64_t part) {
  std::vector<double> x;
  for (int64_t row = 0; row < c.B * c.L; ++row) {
    const auto begin = qkv.begin() + (row * 3 + part) * c.H * c.D;
    x.insert(x.end(), begin, begin + c.H * c.D);
  }
  return x;
}

// f32 within tolerance of the largest element. In bf16 weights, score gradients and o itself are rounded on the way,
// and delta = dO . o passes that on: the limits are those of the golden data.
inline void expect_close(const AttentionData& data, const AttentionResult& got, double f32_tolerance) {
  const auto near = [&](const char* name, const std::vector<double>& x, const std::vector<double>& want) {
    SCOPED_TRACE(name);
    if (data.qkv.tensor.dtype() == DType::f32) {
      EXPECT_CLOSE_MAX(x, want, f32_tolerance);
    } else {
      EXPECT_CLOSE_MAX(x, want, 2e-2);
      EXPECT_CLOSE_L2(x, want, 1e-2);
    }
  };
  near("o", got.o, data.o);
  const char* const names[] = {"dq", "dk", "dv"};
  for (int64_t part = 0; part < 3; ++part)
    near(names[part], part_of(data.c, got.dqkv, part), part_of(data.c, data.dqkv, part));
  EXPECT_CLOSE_MAX(got.stat, data.stat, 1e-5);
}

}  // namespace uvic::test
