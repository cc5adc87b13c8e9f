// Linear layers of the models in every instruction set and dtype, on random numbers: zeros draw less power, and the
// clock rises with them. CPU time of one thread beside real time; the least of the repetitions is the number to quote.

#include <benchmark/benchmark.h>

#include "kernels/ops/linear.h"

namespace uvic {
namespace {

struct Size {
  int64_t N, K, M;
};
constexpr Size kSizes[] = {{2056, 512, 1536}, {2056, 512, 512}, {2056, 512, 2048}, {2056, 2048, 512}, {528, 256, 1024}};
enum class Pass : uint8_t { forward, gelu, dx, dw };
constexpr const char* kPasses[] = {"forward", "gelu", "dx", "dw"};

OwnedTensor random(DType dtype, Shape shape) {
  OwnedTensor t({}, dtype, shape);
  uint64_t state = 1;
  for (int64_t i = 0; i < shape.numel(); ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const auto x = static_cast<float>(static_cast<double>(state >> 40) * 0x1p-23 - 1);
    if (dtype == DType::bf16) {
      t.tensor.data<bf16>()[i] = to_bf16(x);
    } else {
      t.tensor.data<float>()[i] = x;
    }
  }
  return t;
}

void measure(benchmark::State& state, Size s, Pass pass, Isa isa, DType dtype, int threads) {
  Context ctx({.device = {}, .threads = threads, .isa = isa});
  const OwnedTensor x = random(dtype, {s.N, s.K}), w = random(dtype, {s.M, s.K}), b = random(dtype, {s.M});
  const OwnedTensor y = random(dtype, {s.N, s.M}), pre = random(dtype, {s.N, s.M}), dx = random(dtype, {s.N, s.K});
  const OwnedTensor dw({}, DType::f32, {s.M, s.K});
  const LinearArgs plain{x.tensor, w.tensor, {}, {}, Activation::none, {}};
  const LinearArgs gelu{x.tensor, w.tensor, b.tensor, {}, Activation::gelu, {}};
  const LinearBackwardArgs backward{x.tensor, w.tensor};
  const auto run = [&] {
    switch (pass) {
      case Pass::forward: return linear_forward(ctx, plain, y.tensor);
      case Pass::gelu: return linear_forward(ctx, gelu, y.tensor, pre.tensor);
      case Pass::dx: return linear_backward(ctx, backward, y.tensor, dx.tensor, {}, {});
      case Pass::dw: return linear_backward(ctx, backward, y.tensor, {}, dw.tensor, {});
    }
  };
  run();
  ctx.arena().reset();
  for (auto _ : state) run();
  state.counters["FLOP"] =
      benchmark::Counter(static_cast<double>(2 * s.N * s.K * s.M), benchmark::Counter::kIsIterationInvariantRate);
}

const bool registered = [] {
  for (const Size& s : kSizes)
    for (const Pass pass : {Pass::forward, Pass::gelu, Pass::dx, Pass::dw})
      for (const DType dtype : {DType::bf16, DType::f32})
        for (const Isa isa : {Isa::avx2, Isa::avx512, Isa::amx})
          for (const int threads : {1, 0}) {
            if (isa > best_isa()) continue;
            const std::string name =
                concat("linear/", kPasses[static_cast<int>(pass)], "/N", s.N, "_K", s.K, "_M", s.M, "/", name_of(dtype),
                       "/", name_of(isa), threads == 1 ? "/one_thread" : "/all_threads");
            benchmark::RegisterBenchmark(name.c_str(), measure, s, pass, isa, dtype, threads)
                ->UseRealTime()
                ->Unit(benchmark::kMillisecond);
          }
  return true;
}();

}  // namespace
}  // namespace uvic
