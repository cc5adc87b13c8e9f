#include "kernels/cpu/simd/update.h"

#include "kernels/cpu/simd/vec.h"

namespace uvic::cpu::UVIC_ISA {
namespace {

// Sixteen sums in double: the same registers and order in both copies. Each conversion reads four floats from memory,
// which is cheaper than taking a register apart.
UVIC_INLINE void add_squares(const float* x, __m256d (&sums)[4]) {
  for (int k = 0; k < 4; ++k) {
    const __m256d wide = _mm256_cvtps_pd(_mm_loadu_ps(x + 4 * k));
    sums[k] = _mm256_fmadd_pd(wide, wide, sums[k]);
  }
}

double squared_norm(const float* x, int64_t n) {
  const __m256d zero = _mm256_setzero_pd();
  __m256d sums[4] = {zero, zero, zero, zero};
  int64_t i = 0;
  for (; i + F32::kLanes <= n; i += F32::kLanes) add_squares(x + i, sums);
  if (i < n) {
    float rest[F32::kLanes];
    store(rest, load(x + i, n - i));
    add_squares(rest, sums);
  }
  const __m256d total = _mm256_add_pd(_mm256_add_pd(sums[0], sums[1]), _mm256_add_pd(sums[2], sums[3]));
  alignas(32) double lanes[4];
  _mm256_store_pd(lanes, total);
  return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
}

// Separate multiplications and additions, no fma: that is what the reference rounds.
struct Updated {
  F32 param, m, v;
};
UVIC_INLINE Updated adamw(const AdamWScalars& a, F32 param, F32 grad, F32 m, F32 v) {
  const F32 g = grad * set(a.grad_scale);
  const F32 new_m = set(a.beta1) * m + set(a.one_minus_beta1) * g;
  const F32 new_v = set(a.beta2) * v + set(a.one_minus_beta2) * g * g;
  const F32 denominator = sqrt(new_v) / set(a.root_correction2) + set(a.eps);
  return {param * set(a.decay) - set(a.step_size) * new_m / denominator, new_m, new_v};
}
UVIC_INLINE F32 average(const AverageScalars& a, F32 ema, F32 param) {
  return ema * set(a.rate) + set(a.one_minus_rate) * param;
}

void adamw_ema(const AdamWScalars& a, int64_t n, float* param, const float* grad, float* m, float* v,
               const AverageScalars* averages, int average_count, bf16* working) {
  int64_t i = 0;
  for (; i + F32::kLanes <= n; i += F32::kLanes) {
    const Updated u = adamw(a, load(param + i), load(grad + i), load(m + i), load(v + i));
    store(param + i, u.param);
    store(m + i, u.m);
    store(v + i, u.v);
    for (int k = 0; k < average_count; ++k) {
      float* ema = averages[k].ema + i;
      store(ema, average(averages[k], load(ema), u.param));
    }
    if (working) store(working + i, u.param);
  }
  if (const int64_t rest = n - i; rest > 0) {
    const Updated u = adamw(a, load(param + i, rest), load(grad + i, rest), load(m + i, rest), load(v + i, rest));
    store(param + i, u.param, rest);
    store(m + i, u.m, rest);
    store(v + i, u.v, rest);
    for (int k = 0; k < average_count; ++k) {
      float* ema = averages[k].ema + i;
      store(ema, average(averages[k], load(ema, rest), u.param), rest);
    }
    if (working) store(working + i, u.param, rest);
  }
}

}  // namespace

const UpdateKernels update_kernels = {squared_norm, adamw_ema};

}  // namespace uvic::cpu::UVIC_ISA
