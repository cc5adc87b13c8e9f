#pragma once

#include <cstdint>

namespace uvic::cpu {

// Planes [h + k - 1, stride] f32 with k/2 zeros around h x w pixels. stride is at least w + k - 1 rounded so that
// sixteen lanes may be read from any pixel; what is read beyond the border is zero too.
struct PaddedPlanes {
  int64_t h, w, k, stride;
};

struct ConvKernels {
  // Rows [begin, end) of out [M, h, w] = the correlation of padded, C planes, with weight [M, C, k, k], plus b [M] if
  // not null. Overwrites.
  void (*correlate)(const PaddedPlanes& p, const float* padded, const float* weight, const float* b, int64_t M,
                    int64_t C, int64_t begin, int64_t end, float* out);
  // dw [k, k] += sum over pixels of dy [h, w] times one padded plane, shifted.
  void (*weight_gradient)(const PaddedPlanes& p, const float* padded, const float* dy, float* dw);
  float (*sum)(const float* x, int64_t n);
};

namespace avx2 {
extern const ConvKernels conv_kernels;
}
namespace avx512 {
extern const ConvKernels conv_kernels;
}

}  // namespace uvic::cpu
