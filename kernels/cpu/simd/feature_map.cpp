#include "kernels/cpu/simd/feature_map.h"

#include "kernels/cpu/simd/map_numbers.h"

namespace uvic::cpu::UVIC_ISA {
namespace {

void store_numbers(const float* x, int64_t n, MapNumbers y, int64_t at) {
  with_format(y, [&](auto to) {
    for (int64_t c = 0; c < n; c += F32::kLanes) to.set(at + c, load(x + c));
  });
}

void fetch_numbers(MapNumbers x, int64_t at, int64_t n, float* y) {
  with_format(x, [&](auto from) {
    for (int64_t c = 0; c < n; c += F32::kLanes) store(y + c, from.get(at + c));
  });
}

void max_numbers(MapNumbers x, const int64_t* at, int64_t count, int64_t n, MapNumbers y, int64_t y_at) {
  with_format(x, [&](auto from) {
    const decltype(from) to(y);
    for (int64_t c = 0; c < n; c += F32::kLanes) {
      F32 largest = from.get(at[0] + c);
      for (int64_t i = 1; i < count; ++i) largest = max(largest, from.get(at[i] + c));
      to.set(y_at + c, largest);
    }
  });
}

void mean_numbers(MapNumbers x, const int64_t* at, int64_t count, float factor, const float* b, int64_t n, MapNumbers y,
                  int64_t y_at) {
  with_format(x, [&](auto from) {
    const decltype(from) to(y);
    for (int64_t c = 0; c < n; c += F32::kLanes) {
      F32 total = from.get(at[0] + c);
      for (int64_t i = 1; i < count; ++i) total = total + from.get(at[i] + c);
      to.set(y_at + c, max(set(0.0f), fma(total, set(factor), load(b + c))));
    }
  });
}

void sum_numbers(MapNumbers x, int64_t at, int64_t pitch, int64_t count, int64_t n, double* sums) {
  with_format(x, [&](auto from) {
    for (int64_t c = 0; c < n; c += F32::kLanes) {
      F32 total = set(0.0f);
      for (int64_t i = 0; i < count; ++i) total = total + from.get(at + i * pitch + c);
      float lanes[F32::kLanes];
      store(lanes, total);
      for (int i = 0; i < F32::kLanes; ++i) sums[c + i] += static_cast<double>(lanes[i]);
    }
  });
}

}  // namespace

const FeatureMapKernels feature_map_kernels = {store_numbers, fetch_numbers, max_numbers, mean_numbers, sum_numbers};

}  // namespace uvic::cpu::UVIC_ISA
