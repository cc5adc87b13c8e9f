#pragma once

#include "kernels/core/tensor.h"
#include "kernels/ops/activation.h"

namespace uvic::cpu {

// What surrounds a linear layer's products, over n elements or over rows [rows, columns] without gaps. Serial.
struct ActivationKernels {
  // y = act(pre) + residual; residual may be null, y may be either input.
  void (*forward_f32)(Activation act, const float* pre, const float* residual, float* y, int64_t n);
  void (*forward_bf16)(Activation act, const bf16* pre, const bf16* residual, bf16* y, int64_t n);
  // dpre = dy * act'(pre)
  void (*backward_f32)(Activation act, const float* pre, const float* dy, float* dpre, int64_t n);
  void (*backward_bf16)(Activation act, const bf16* pre, const bf16* dy, bf16* dpre, int64_t n);
  // sums[j] = the sum of x[i][j] over the rows i, in order
  void (*column_sums_f32)(const float* x, int64_t rows, int64_t columns, float* sums);
  void (*column_sums_bf16)(const bf16* x, int64_t rows, int64_t columns, float* sums);
};

namespace avx2 {
extern const ActivationKernels activation_kernels;
}
namespace avx512 {
extern const ActivationKernels activation_kernels;
}

}  // namespace uvic::cpu
