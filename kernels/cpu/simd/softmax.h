#pragma once

#include <cstdint>

#include "kernels/core/tensor.h"

namespace uvic::cpu {

// In place, x [n]: exp(scale x - max of it); returns the sum. The bf16 form writes it, rounded, to y [n].
struct SoftmaxKernels {
  float (*f32)(float* x, int64_t n, float scale);
  float (*bf16)(const float* x, int64_t n, float scale, uvic::bf16* y);
};

namespace avx2 {
extern const SoftmaxKernels softmax_kernels;
}
namespace avx512 {
extern const SoftmaxKernels softmax_kernels;
}

}  // namespace uvic::cpu
