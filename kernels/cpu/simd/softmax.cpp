#include "kernels/cpu/simd/softmax.h"

#include "kernels/cpu/simd/vec.h"

namespace uvic::cpu::UVIC_ISA {
namespace {

template <class T>
UVIC_INLINE float exponentials(const float* x, int64_t n, float scale, T* y) {
  const int64_t whole = n / F32::kLanes * F32::kLanes;
  const Mask tail = lanes_below(n - whole);
  F32 largest = select(tail, load(x + whole, n - whole), set(-3.4e38f));
  for (int64_t i = 0; i < whole; i += F32::kLanes) largest = max(largest, load(x + i));
  const float top = max_of(largest) * scale;
  F32 total = set(0.0f);
  for (int64_t i = 0; i < whole; i += F32::kLanes) {
    const F32 e = exp(fma(load(x + i), set(scale), set(-top)));
    total = total + e;
    store(y + i, e);
  }
  const F32 e = keep(tail, exp(fma(load(x + whole, n - whole), set(scale), set(-top))));
  store(y + whole, e, n - whole);
  return sum(total + e);
}

float in_f32(float* x, int64_t n, float scale) { return exponentials(x, n, scale, x); }
float in_bf16(const float* x, int64_t n, float scale, bf16* y) { return exponentials(x, n, scale, y); }

}  // namespace

const SoftmaxKernels softmax_kernels = {in_f32, in_bf16};

}  // namespace uvic::cpu::UVIC_ISA
