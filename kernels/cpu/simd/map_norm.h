#pragma once

#include <cstdint>

#include "kernels/cpu/simd/feature_map.h"

namespace uvic::cpu {

// Serial, n channels at a time, n a multiple of 16.
struct MapNormKernels {
  // sums [n] += x and squares [n] += x^2 over `count` neighbouring pixels from `at` on
  void (*moments)(MapNumbers x, int64_t at, int64_t pitch, int64_t count, int64_t n, double* sums, double* squares);
  // `count` neighbouring pixels y = act(scale x + shift), each `up` times; act: 0 none, 1 relu, 2 silu; scale and shift
  // may be null for 1 and 0
  struct Row {
    MapNumbers x, y;
    int64_t x_at, x_pitch, y_at, y_pitch, count, n, up;
    const float *scale, *shift;
    int act;
  };
  void (*row)(const Row& row);
};

namespace avx2 {
extern const MapNormKernels map_norm_kernels;
}
namespace avx512 {
extern const MapNormKernels map_norm_kernels;
}

}  // namespace uvic::cpu
