#include "tests/bench/peak.h"

#include <benchmark/benchmark.h>
#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <map>
#include <tuple>

#include "kernels/core/memory.h"
#include "kernels/cpu/parallel.h"

namespace uvic {
namespace {

constexpr int kRepetitions = 8;
constexpr double kSeconds = 0.015;  // of a repetition: long enough that starting threads does not count

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// The best rate of loop(turns), run by every thread at once, when a turn of one thread is worth `work`.
double best_rate(const Context& ctx, double work, const std::function<void(int, int64_t)>& loop) {
  const auto seconds = [&](int64_t turns) {
    const double start = now();
    cpu::parallel_for(ctx, ctx.threads(), 1, [&](int64_t thread, int64_t) { loop(static_cast<int>(thread), turns); });
    return now() - start;
  };
  int64_t turns = 1;
  while (seconds(turns) < kSeconds) turns *= 2;
  double best = 0;
  for (int i = 0; i < kRepetitions; ++i)
    best = std::max(best, static_cast<double>(turns) * ctx.threads() * work / seconds(turns));
  return best;
}

// ---- arithmetic -----------------------------------------------------------------------------------------------------
// Sums enough that none waits for itself; two more registers hold the operands.
constexpr int kSums = 12;
constexpr double kFlopAvx2 = 2.0 * 8 * kSums, kFlopAvx512 = 2.0 * 16 * kSums, kFlopAmx = 4 * 2.0 * 16 * 16 * 32;

__attribute__((target("avx2,fma"))) void multiply_add_avx2(int64_t turns) {
  __m256 sum[kSums];
  for (int i = 0; i < kSums; ++i) sum[i] = _mm256_set1_ps(0.1f * static_cast<float>(i));
  const __m256 a = _mm256_set1_ps(0.9999f), b = _mm256_set1_ps(0.0003f);
  for (int64_t turn = 0; turn < turns; ++turn)
    for (int i = 0; i < kSums; ++i) sum[i] = _mm256_fmadd_ps(sum[i], a, b);
  for (int i = 0; i < kSums; ++i) benchmark::DoNotOptimize(sum[i]);
}

__attribute__((target("avx512f"))) void multiply_add_avx512(int64_t turns) {
  __m512 sum[kSums];
  for (int i = 0; i < kSums; ++i) sum[i] = _mm512_set1_ps(0.1f * static_cast<float>(i));
  const __m512 a = _mm512_set1_ps(0.9999f), b = _mm512_set1_ps(0.0003f);
  for (int64_t turn = 0; turn < turns; ++turn)
    for (int i = 0; i < kSums; ++i) sum[i] = _mm512_fmadd_ps(sum[i], a, b);
  for (int i = 0; i < kSums; ++i) benchmark::DoNotOptimize(sum[i]);
}

// Four products in flight, each 16 x 32 times 32 x 16; random operands, since zeros draw less power.
__attribute__((target("amx-tile,amx-bf16"))) void multiply_tiles(int64_t turns) {
  struct alignas(64) Config {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  };
  const Config config;
  __asm__ volatile("ldtilecfg %0" ::"m"(config));
  alignas(64) bf16 operand[4][512];
  uint32_t state = 1;
  for (auto& tile : operand)
    for (bf16& x : tile) {
      state = state * 1664525u + 1013904223u;
      x = to_bf16(static_cast<float>(static_cast<int32_t>(state)) * 0x1p-31f);
    }
  __asm__ volatile("" ::"r"(&operand) : "memory");  // GCC 12 does not know that a tile load reads memory
  _tile_loadd(4, operand[0], 64);
  _tile_loadd(5, operand[1], 64);
  _tile_loadd(6, operand[2], 64);
  _tile_loadd(7, operand[3], 64);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int64_t turn = 0; turn < turns; ++turn) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_release();
}

// ---- memory ---------------------------------------------------------------------------------------------------------
constexpr size_t kStride = 256;     // bytes a turn of the loops
constexpr size_t kGrain = 1 << 14;  // sizes closer than this are one

void read(char* from, size_t bytes) {
  __m256i sum[4] = {};
  for (const char* end = from + bytes; from < end; from += kStride)
    for (size_t i = 0; i < kStride / 32; ++i)
      sum[i % 4] = _mm256_xor_si256(sum[i % 4], _mm256_load_si256(reinterpret_cast<const __m256i*>(from) + i));
  for (const __m256i& s : sum) benchmark::DoNotOptimize(s);
}

void read_and_write(char* at, size_t bytes) {
  const __m256i ones = _mm256_set1_epi32(-1);
  for (const char* end = at + bytes; at < end; at += kStride)
    for (size_t i = 0; i < kStride / 32; ++i) {
      __m256i* to = reinterpret_cast<__m256i*>(at) + i;
      _mm256_store_si256(to, _mm256_xor_si256(_mm256_load_si256(to), ones));
    }
}

}  // namespace

double peak_flops(const Context& ctx, DType dtype) {
  const bool tiles = ctx.isa() == Isa::amx && dtype == DType::bf16, wide = ctx.isa() >= Isa::avx512;
  static std::map<std::tuple<bool, bool, int>, double> known;
  double& flops = known[{tiles, wide, ctx.threads()}];
  if (flops == 0)
    flops = tiles  ? best_rate(ctx, kFlopAmx, [](int, int64_t turns) { multiply_tiles(turns); })
            : wide ? best_rate(ctx, kFlopAvx512, [](int, int64_t turns) { multiply_add_avx512(turns); })
                   : best_rate(ctx, kFlopAvx2, [](int, int64_t turns) { multiply_add_avx2(turns); });
  return flops;
}

double peak_bandwidth(const Context& ctx, size_t bytes) {
  const auto threads = static_cast<size_t>(ctx.threads());
  const size_t part = (bytes / threads + kGrain - 1) / kGrain * kGrain;
  static std::map<std::pair<size_t, int>, double> known;
  double& best = known[{part, ctx.threads()}];
  if (best > 0) return best;
  const Buffer memory({}, part * threads);
  std::memset(memory.data(), 1, part * threads);  // pages that were never written are all the same one
  const auto rate = [&](double traffic, void (*pass)(char*, size_t)) {
    return best_rate(ctx, traffic, [&](int thread, int64_t turns) {
      char* from = static_cast<char*>(memory.data()) + static_cast<size_t>(thread) * part;
      for (int64_t turn = 0; turn < turns; ++turn) pass(from, part);
    });
  };
  return best = std::max(rate(static_cast<double>(part), read), rate(static_cast<double>(2 * part), read_and_write));
}

}  // namespace uvic
