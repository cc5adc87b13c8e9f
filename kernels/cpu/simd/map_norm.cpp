#include "kernels/cpu/simd/map_norm.h"

#include "kernels/cpu/simd/map_numbers.h"

namespace uvic::cpu::UVIC_ISA {
namespace {

// Pixels whose sums are taken in f32, as deviations from about their mean, so that a mean far from 0 costs no digits:
// few enough that their numbers stay in L1 while the channels pass, and again for the deviations.
constexpr int64_t kChunk = 16;

// Of n numbers: sums of x = mean + d and of x^2, from those of d and d^2.
UVIC_INLINE void add_chunk(F32 mean, F32 d, F32 d2, double n, double* sums, double* squares) {
  float m[F32::kLanes], first[F32::kLanes], second[F32::kLanes];
  store(m, mean);
  store(first, d);
  store(second, d2);
  for (int i = 0; i < F32::kLanes; ++i) {
    const double about = static_cast<double>(m[i]), total = static_cast<double>(first[i]);
    sums[i] += n * about + total;
    squares[i] += (n * about + 2 * total) * about + static_cast<double>(second[i]);
  }
}

void moments(MapNumbers x, int64_t at, int64_t pitch, int64_t count, int64_t n, double* sums, double* squares) {
  with_format(x, [&](auto from) {
    for (int64_t first = 0; first < count; first += kChunk) {
      const int64_t end = first + kChunk < count ? first + kChunk : count;
      const float share = 1.0f / static_cast<float>(end - first);
      for (int64_t c = 0; c < n; c += F32::kLanes) {
        F32 total = set(0.0f), d = set(0.0f), d2 = set(0.0f);
        for (int64_t i = first; i < end; ++i) total = total + from.get(at + i * pitch + c);
        const F32 mean = total * share;
        for (int64_t i = first; i < end; ++i) {
          const F32 away = from.get(at + i * pitch + c) - mean;
          d = d + away;
          d2 = fma(away, away, d2);
        }
        add_chunk(mean, d, d2, static_cast<double>(end - first), sums + c, squares + c);
      }
    }
  });
}

template <int kAct, bool kAffine>
void row_as(const MapNormKernels::Row& r) {
  with_format(r.x, [&](auto from) {
    const decltype(from) to(r.y);
    for (int64_t i = 0; i < r.count; ++i)
      for (int64_t c = 0; c < r.n; c += F32::kLanes) {
        F32 value = from.get(r.x_at + i * r.x_pitch + c);
        if constexpr (kAffine) value = fma(value, load(r.scale + c), load(r.shift + c));
        if constexpr (kAct == 1) value = max(set(0.0f), value);
        if constexpr (kAct == 2) value = silu(value);
        for (int64_t u = 0; u < r.up; ++u) to.set(r.y_at + (i * r.up + u) * r.y_pitch + c, value);
      }
  });
}

void row(const MapNormKernels::Row& r) {
  if (r.scale) return r.act == 2 ? row_as<2, true>(r) : r.act == 1 ? row_as<1, true>(r) : row_as<0, true>(r);
  r.act == 2 ? row_as<2, false>(r) : r.act == 1 ? row_as<1, false>(r) : row_as<0, false>(r);
}

}  // namespace

const MapNormKernels map_norm_kernels = {moments, row};

}  // namespace uvic::cpu::UVIC_ISA
