#include "tests/bench/cases.h"

#include <benchmark/benchmark.h>

#include <chrono>

#include "tests/bench/peak.h"

namespace uvic {
namespace {

Network network(const char* name, const char* preset_name, int size, int channels, int classes, int context = 0) {
  UViCConfig c = preset(preset_name);
  c.img_size = size;
  c.in_chans = channels;
  c.num_classes = classes;
  if (context > 0) c.clip_dim = 768, c.num_clip_token = context;
  return {name, c};
}

void time_job(benchmark::State& state, const UViCConfig& config, DType dtype, Isa isa, int threads,
              const MakeJob& make) {
  Context ctx({.device = {}, .threads = threads, .isa = isa});
  Job job;
  make(ctx, config, dtype, job);
  if (!job.run) return state.SkipWithError("does not fit in memory");
  job.run();
  ctx.arena().reset();  // which grows in the first run only
  const auto start = std::chrono::steady_clock::now();
  for (auto _ : state) job.run();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();

  const double work = job.flop > 0 ? job.flop : job.bytes;
  const double peak = job.flop > 0 ? peak_flops(ctx, job.arithmetic) : peak_bandwidth(ctx, job.bytes_owned());
  state.counters[job.flop > 0 ? "FLOP" : "bytes"] =
      benchmark::Counter(work, benchmark::Counter::kIsIterationInvariantRate);
  state.counters["share_%"] = 100 * work * static_cast<double>(state.iterations()) / seconds / peak;
  state.SetLabel(job.label);
}

}  // namespace

const std::vector<Network>& networks() {
  static const std::vector<Network> all{
      network("mini", "U-ViC-mini/2", 32, 3, 11), network("mini4", "U-ViC-mini/4", 32, 3, 11),
      network("S2", "U-ViC-S/2", 32, 3, -1),      network("M4", "U-ViC-M/4", 64, 3, 1000),
      network("L2", "U-ViC-L/2", 32, 4, 1001),    network("H2", "U-ViC-H/2", 32, 4, 1001),
      network("T2", "U-ViC-S/2", 32, 4, -1, 77)};
  return all;
}

const std::vector<DType>& working_dtypes() {
  static const std::vector<DType> both{DType::bf16, DType::f32};
  return both;
}

const std::vector<DType>& f32_only() {
  static const std::vector<DType> one{DType::f32};
  return one;
}

const std::vector<Isa>& all_isas() {
  static const std::vector<Isa> all = [] {
    std::vector<Isa> isas;
    for (const Isa isa : {Isa::avx2, Isa::avx512, Isa::amx})
      if (isa <= best_isa()) isas.push_back(isa);
    return isas;
  }();
  return all;
}

const std::vector<Isa>& vector_isas() {
  static const std::vector<Isa> copies = [] {
    std::vector<Isa> isas = all_isas();
    if (isas.back() == Isa::amx) isas.pop_back();
    return isas;
  }();
  return copies;
}

const std::vector<Isa>& best_isa_only() {
  static const std::vector<Isa> one{best_isa()};
  return one;
}

Tensor Job::zeros(DType dtype, Shape shape) {
  tensors_.emplace_back(Device{}, dtype, shape);
  owned_ += tensors_.back().tensor.bytes();
  return tensors_.back().tensor;
}

Tensor Job::random(DType dtype, Shape shape, double size) {
  const Tensor t = zeros(dtype, shape);
  uint64_t state = tensors_.size();
  for (int64_t i = 0; i < t.numel(); ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const auto x = static_cast<float>(size * (static_cast<double>(state >> 40) * 0x1p-23 - 1));
    if (dtype == DType::bf16) {
      t.data<bf16>()[i] = to_bf16(x);
    } else {
      t.data<float>()[i] = x;
    }
  }
  return t;
}

void register_cases(const std::string& op, const std::vector<Network>& networks, const std::vector<DType>& dtypes,
                    const std::vector<Isa>& isas, const MakeJob& make, int threads) {
  for (const Network& n : networks)
    for (const DType dtype : dtypes)
      for (const Isa isa : isas) {
        const std::string name =
            concat(op, "/", n.name, "/", name_of(dtype), "/", name_of(isa), threads == 1 ? "/1_thread" : "");
        benchmark::RegisterBenchmark(name.c_str(), time_job, n.config, dtype, isa, threads, make)
            ->UseRealTime()
            ->Unit(benchmark::kMicrosecond);
      }
}

}  // namespace uvic
