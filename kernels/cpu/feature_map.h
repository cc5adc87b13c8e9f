#pragma once

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd/feature_map.h"
#include "kernels/ops/feature_map.h"

namespace uvic::cpu {

// Pixels that may be read, though their results are never used, behind the last one of a map: what a tile of sixteen
// pixels has too many, and one for a step over channels that begins in the last pixel.
constexpr int64_t kSparePixels = 16;

inline MapNumbers numbers(const FeatureMap& m) {
  char* at = static_cast<char*>(m.data.raw()) + static_cast<size_t>(m.first) * size_of(m.data.dtype());
  return {at, m.format(), m.format() == MapFormat::split ? m.plane() : 0};
}
// Of the pixel at row i, column j of image n, in pixels.
inline int64_t pixel_at(const FeatureMap& m, int64_t n, int64_t i, int64_t j) {
  return m.origin() + n * m.image() + i * m.row() + j;
}

// Calls f(image, row) for every row of m, in parallel.
template <class F>
void for_rows(const Context& ctx, const FeatureMap& m, int64_t work, const F& f) {
  parallel_for(ctx, m.B * m.h, rows_for(m.w * m.channels * work), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) f(i / m.h, i % m.h);
  });
}

}  // namespace uvic::cpu
