#include "kernels/cpu/simd/conv.h"

#include "kernels/cpu/simd/vec.h"

namespace uvic::cpu::UVIC_ISA {
namespace {

constexpr int64_t kLanes = F32::kLanes;

int64_t lanes_left(int64_t w, int64_t j) { return w - j < kLanes ? w - j : kLanes; }

// Sixteen pixels of one row in kOut channels at once, which share each load of the input.
template <int kOut>
void correlate_row(const PaddedPlanes& p, int64_t plane, const float* padded, const float* weight, const float* b,
                   int64_t C, int64_t row, float* out) {
  const int64_t k = p.k, filter = C * k * k, image = p.h * p.w;
  for (int64_t j = 0; j < p.w; j += kLanes) {
    F32 sums[kOut];
    for (int m = 0; m < kOut; ++m) sums[m] = set(b ? b[m] : 0.0f);
    const float* tap = weight;
    for (int64_t c = 0; c < C; ++c)
      for (int64_t ky = 0; ky < k; ++ky) {
        const float* x = padded + c * plane + (row + ky) * p.stride + j;
        for (int64_t kx = 0; kx < k; ++kx, ++tap) {
          const F32 pixels = load(x + kx);
          for (int m = 0; m < kOut; ++m) sums[m] = fma(pixels, set(tap[m * filter]), sums[m]);
        }
      }
    for (int m = 0; m < kOut; ++m) store(out + m * image + row * p.w + j, sums[m], lanes_left(p.w, j));
  }
}

void correlate(const PaddedPlanes& p, const float* padded, const float* weight, const float* b, int64_t M, int64_t C,
               int64_t begin, int64_t end, float* out) {
  constexpr auto kRow = correlate_row<1>;
  constexpr decltype(kRow) by_channels[] = {nullptr, kRow, correlate_row<2>, correlate_row<3>, correlate_row<4>};
  const int64_t plane = (p.h + p.k - 1) * p.stride;
  for (int64_t row = begin; row < end; ++row)
    for (int64_t m = 0; m < M; m += 4) {
      const int64_t together = M - m < 4 ? M - m : 4;
      by_channels[together](p, plane, padded, weight + m * C * p.k * p.k, b ? b + m : nullptr, C, row,
                            out + m * p.h * p.w);
    }
}

void weight_gradient(const PaddedPlanes& p, const float* padded, const float* dy, float* dw) {
  for (int64_t ky = 0; ky < p.k; ++ky)
    for (int64_t kx = 0; kx < p.k; ++kx) {
      F32 total = set(0.0f);
      for (int64_t row = 0; row < p.h; ++row) {
        const float *x = padded + (row + ky) * p.stride + kx, *g = dy + row * p.w;
        int64_t j = 0;
        for (; j + kLanes <= p.w; j += kLanes) total = fma(load(g + j), load(x + j), total);
        if (j < p.w) total = fma(load(g + j, p.w - j), load(x + j), total);
      }
      dw[ky * p.k + kx] += sum(total);
    }
}

float sum_of(const float* x, int64_t n) {
  F32 total = set(0.0f);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) total = total + load(x + i);
  if (i < n) total = total + load(x + i, n - i);
  return sum(total);
}

}  // namespace

const ConvKernels conv_kernels = {correlate, weight_gradient, sum_of};

}  // namespace uvic::cpu::UVIC_ISA
