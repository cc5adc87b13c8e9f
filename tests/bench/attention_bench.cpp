// Attention of every kind, instruction set and dtype on the shapes of the models. "FLOP" counts the matrix products
// only: 4 B H L^2 D forward, 2.5 times that backward; both halves of a causal row are counted. The least of the
// repetitions is the number to quote.

#include <benchmark/benchmark.h>

#include <cmath>

#include "kernels/ops/attention.h"

namespace uvic {
namespace {

struct Size {
  int64_t B, H, L, D;
};
constexpr Size kSizes[] = {{8, 8, 257, 64},  {8, 8, 66, 64},  {8, 8, 334, 64},
                           {8, 16, 258, 72}, {1, 8, 257, 64}, {2, 8, 1025, 64}};
constexpr AttentionKind kKinds[] = {AttentionKind::softmax, AttentionKind::cog, AttentionKind::expressive};

void fill(Tensor t, double size, unsigned seed) {
  uint64_t state = seed;
  for (int64_t i = 0; i < t.numel(); ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const auto x = static_cast<float>(size * (static_cast<double>(state >> 40) * 0x1p-23 - 1));
    if (t.dtype() == DType::bf16) {
      t.data<bf16>()[i] = to_bf16(x);
    } else {
      t.data<float>()[i] = x;
    }
  }
}

void measure(benchmark::State& state, Size size, AttentionKind kind, Isa isa, DType dtype, bool backward) {
  Context ctx({.device = {}, .threads = 0, .isa = isa});
  const auto [B, H, L, D] = size;
  const OwnedTensor qkv({}, dtype, {B, L, 3, H, D}), dqkv({}, dtype, {B, L, 3, H, D});
  const OwnedTensor o({}, dtype, {B, L, H, D}), grad_o({}, dtype, {B, L, H, D}), stat({}, DType::f32, {B, H, L});
  fill(qkv.tensor, kind == AttentionKind::expressive ? 2 * std::pow(static_cast<double>(D), -0.25) : 2, 1);
  fill(grad_o.tensor, 1, 2);
  const AttentionArgs args{.qkv = qkv.tensor, .kind = kind};
  attention_forward(ctx, args, o.tensor, stat.tensor);
  if (backward) attention_backward(ctx, args, o.tensor, stat.tensor, grad_o.tensor, dqkv.tensor);
  ctx.arena().reset();
  for (auto _ : state) {
    attention_forward(ctx, args, o.tensor, stat.tensor);
    if (backward) attention_backward(ctx, args, o.tensor, stat.tensor, grad_o.tensor, dqkv.tensor);
  }
  const auto flop = static_cast<double>(4 * B * H * L * L * D) * (backward ? 3.5 : 1);
  state.counters["FLOP"] = benchmark::Counter(flop, benchmark::Counter::kIsIterationInvariantRate);
}

const bool registered = [] {
  for (const Size& s : kSizes)
    for (const bool backward : {false, true})
      for (const DType dtype : {DType::bf16, DType::f32})
        for (const Isa isa : {Isa::avx2, Isa::avx512, Isa::amx})
          for (const AttentionKind kind : kKinds) {
            if (isa > best_isa()) continue;
            const std::string name = concat("attention/", backward ? "both" : "forward", "/B", s.B, "_H", s.H, "_L",
                                            s.L, "_D", s.D, "/", name_of(dtype), "/", name_of(isa), "/", name_of(kind));
            benchmark::RegisterBenchmark(name.c_str(), measure, s, kind, isa, dtype, backward)
                ->UseRealTime()
                ->Unit(benchmark::kMillisecond);
          }
  return true;
}();

}  // namespace
}  // namespace uvic
