#pragma once

#include <cstdint>

#include "kernels/core/tensor.h"

namespace uvic::cpu {

// One step of AdamW with its scalars worked out in double and rounded once; formulas in ops/update.h.
struct AdamWScalars {
  float grad_scale, decay;  // 1 - lr weight_decay
  float beta1, one_minus_beta1, beta2, one_minus_beta2;
  float root_correction2, eps, step_size;  // sqrt(1 - beta2^t), eps, lr / (1 - beta1^t)
};

struct AverageScalars {
  float* ema;
  float rate, one_minus_rate;
};

struct UpdateKernels {
  double (*squared_norm)(const float* x, int64_t n);
  // working may be null.
  void (*adamw_ema)(const AdamWScalars& a, int64_t n, float* param, const float* grad, float* m, float* v,
                    const AverageScalars* averages, int average_count, bf16* working);
};

namespace avx2 {
extern const UpdateKernels update_kernels;
}
namespace avx512 {
extern const UpdateKernels update_kernels;
}

}  // namespace uvic::cpu
