#pragma once

#include <cstdint>

#include "kernels/core/tensor.h"

namespace uvic::cpu {

// LayerNorm over rows of C elements; contracts in ops/norm.h. stats is (mean, 1 / deviation) of each row.
struct NormKernels {
  // stats may be null.
  void (*forward_f32)(const float* x, const float* w, const float* b, float eps, int64_t rows, int64_t C, float* y,
                      float* stats);
  void (*forward_bf16)(const bf16* x, const bf16* w, const bf16* b, float eps, int64_t rows, int64_t C, bf16* y,
                       float* stats);
  // Adds to dx; overwrites dw and db, the sums over these rows alone.
  void (*backward_f32)(const float* x, const float* w, const float* stats, const float* dy, int64_t rows, int64_t C,
                       float* dx, float* dw, float* db);
  void (*backward_bf16)(const bf16* x, const bf16* w, const float* stats, const bf16* dy, int64_t rows, int64_t C,
                        bf16* dx, float* dw, float* db);
};

namespace avx2 {
extern const NormKernels norm_kernels;
}
namespace avx512 {
extern const NormKernels norm_kernels;
}

}  // namespace uvic::cpu
