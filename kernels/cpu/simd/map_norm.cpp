#include "kernels/cpu/simd/map_norm.h"

#include "kernels/cpu/simd/map_numbers.h"

namespace uvic::cpu::UVIC_ISA {
namespace {

// Pixels whose sums are taken in f32: few enough that their numbers stay in L1 while the channels pass, and that the
// error of the sums stays that of a number.
constexpr int64_t kChunk = 16;

UVIC_INLINE void add_to(F32 x, double* sums) {
  float lanes[F32::kLanes];
  store(lanes, x);
  for (int i = 0; i < F32::kLanes; ++i) sums[i] += static_cast<double>(lanes[i]);
}

void moments(MapNumbers x, int64_t at, int64_t pitch, int64_t count, int64_t n, double* sums, double* squares) {
  with_format(x, [&](auto from) {
    for (int64_t first = 0; first < count; first += kChunk) {
      const int64_t end = first + kChunk < count ? first + kChunk : count;
      for (int64_t c = 0; c < n; c += F32::kLanes) {
        F32 total = set(0.0f), square = set(0.0f);
        for (int64_t i = first; i < end; ++i) {
          const F32 value = from.get(at + i * pitch + c);
          total = total + value;
          square = fma(value, value, square);
        }
        add_to(total, sums + c);
        add_to(square, squares + c);
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
