// Attention of every kind, in every instruction set, on the shapes of the networks and over a range of lengths. "FLOP"
// counts the matrix products only: 4 B H L^2 D forward, 2.5 times that backward; both halves of a causal row are
// counted. The least of the repetitions is the number to quote.

#include "kernels/ops/attention.h"

#include <cmath>

#include "tests/bench/cases.h"

namespace uvic {
namespace {

void make(Context& ctx, int64_t B, const UViCConfig& c, DType dtype, AttentionKind kind, bool backward, Job& job) {
  const int64_t H = c.num_heads, L = c.tokens(), D = c.head_dim();
  const double size = kind == AttentionKind::expressive ? 2 * std::pow(static_cast<double>(D), -0.25) : 2;
  const AttentionArgs args{.qkv = job.random(dtype, {B, L, 3, H, D}, size), .kind = kind};
  const Tensor o = job.zeros(dtype, {B, L, H, D}), stat = job.zeros(DType::f32, {B, H, L});
  job.flop = static_cast<double>(4 * B * H * L * L * D) * (backward ? 3.5 : 1);
  job.arithmetic = dtype;
  job.label = concat("[", B, ", ", H, ", ", L, ", ", D, "]");
  if (backward) {
    const Tensor grad_o = job.random(dtype, {B, L, H, D}), dqkv = job.zeros(dtype, {B, L, 3, H, D});
    job.run = [=, &ctx] {
      attention_forward(ctx, args, o, stat);
      attention_backward(ctx, args, o, stat, grad_o, dqkv);
    };
  } else {
    job.run = [=, &ctx] { attention_forward(ctx, args, o, stat); };
  }
}

// S/2 in images of 8, 16, ... 128 pixels a side: 17 to 4,097 tokens.
std::vector<Network> lengths() {
  std::vector<Network> all;
  for (int side = 8; side <= 128; side *= 2) {
    UViCConfig c = preset("U-ViC-S/2");
    c.img_size = side;
    all.push_back({concat("tokens", c.tokens()), c});
  }
  return all;
}

const bool registered = [] {
  for (const AttentionKind kind : {AttentionKind::softmax, AttentionKind::cog, AttentionKind::expressive})
    for (const bool backward : {false, true}) {
      const std::string op = concat("attention/", backward ? "both/" : "forward/", name_of(kind));
      const auto with_batch = [=](int64_t batch) {
        return [=](Context& ctx, const UViCConfig& c, DType dtype, Job& job) {
          make(ctx, batch, c, dtype, kind, backward, job);
        };
      };
      register_cases(op, networks(), working_dtypes(), all_isas(), with_batch(kBatch));
      register_cases(op, lengths(), {DType::bf16}, best_isa_only(), with_batch(1));
    }
  return true;
}();

}  // namespace
}  // namespace uvic
