#pragma once

#include <cstdint>

#include "kernels/ops/map_format.h"

namespace uvic::cpu {

// Numbers of a feature map from some channel on: f32, bf16, or split bf16, hi with lo so many numbers behind it.
struct MapNumbers {
  void* data;
  MapFormat format;
  int64_t lo;
};

// What moves over pixels, n channels at a time, n a multiple of 16. `at` are positions of pixels, in numbers.
struct FeatureMapKernels {
  // y = x, f32 [n], as numbers of a map
  void (*store)(const float* x, int64_t n, MapNumbers y, int64_t at);
  // y, f32 [n] = x
  void (*fetch)(MapNumbers x, int64_t at, int64_t n, float* y);
  // y = largest of x at `count` pixels
  void (*max)(MapNumbers x, const int64_t* at, int64_t count, int64_t n, MapNumbers y, int64_t y_at);
  // y = relu(sum of x at `count` pixels * factor + b)
  void (*mean)(MapNumbers x, const int64_t* at, int64_t count, float factor, const float* b, int64_t n, MapNumbers y,
               int64_t y_at);
  // sums [n] += x at `count` pixels, pitch apart: in f32 over these, then in f64
  void (*sum)(MapNumbers x, int64_t at, int64_t pitch, int64_t count, int64_t n, double* sums);
};

namespace avx2 {
extern const FeatureMapKernels feature_map_kernels;
}
namespace avx512 {
extern const FeatureMapKernels feature_map_kernels;
}

}  // namespace uvic::cpu
