#pragma once

#include "kernels/core/tensor.h"
#include "kernels/ops/activation.h"

namespace uvic::cpu {

// What surrounds a linear layer's products, over n elements or over rows [rows, columns] without gaps. Serial.
struct ActivationKernels {
  template <class T>
  struct Of {
    // pre = sums and y = act(sums) + residual; residual may be null, pre and y may be sums.
    void (*forward)(Activation act, const float* sums, const T* residual, T* pre, T* y, int64_t n);
    void (*apply)(Activation act, const T* x, T* y, int64_t n);  // y = act(x)
    // dpre = sums * act'(pre); dpre may be sums
    void (*backward)(Activation act, const T* pre, const float* sums, T* dpre, int64_t n);
    // sums[j] = the sum of x[i][j] over the rows i, in order
    void (*column_sums)(const T* x, int64_t rows, int64_t columns, float* sums);
  };
  Of<float> f32;
  Of<bf16> half;

  template <class T>
  const Of<T>& of() const {
    if constexpr (sizeof(T) == 2) {
      return half;
    } else {
      return f32;
    }
  }
};

namespace avx2 {
extern const ActivationKernels activation_kernels;
}
namespace avx512 {
extern const ActivationKernels activation_kernels;
}

}  // namespace uvic::cpu
