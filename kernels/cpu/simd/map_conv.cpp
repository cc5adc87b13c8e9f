// Convolution in f32: an outer product of some pixels and some filters for each number of the inner dimension.

#include "kernels/cpu/simd/map_conv.h"

#include "kernels/cpu/simd/vec.h"

namespace uvic::cpu::UVIC_ISA {
namespace {

// Sums held in registers: 16 of AVX-512's 32, 8 of AVX2's 16, which hide the latency of an fma behind at least as many
// multiplications as loads.
#ifdef __AVX512F__
constexpr int64_t kRows = 8, kVectors = 2;
#else
constexpr int64_t kRows = 4, kVectors = 1;
#endif
constexpr int64_t kColumns = kVectors * F32::kLanes;

// kRows pixels from x on, by kColumns filters of a panel, of which `to` says where each belongs.
void multiply(const ConvWork& work, const float* x, const float* w, const ConvOutput& out, int64_t column,
              const int32_t* to) {
  F32 sums[kRows][kVectors];
  for (int64_t r = 0; r < kRows; ++r)
    for (int64_t v = 0; v < kVectors; ++v) sums[r][v] = set(0.0f);
  for (int64_t s = 0; s < work.steps; ++s, w += kConvStep * kConvPanel) {
    const float* at = x + work.offsets[s];
    for (int64_t k = 0; k < kConvStep; ++k) {
      F32 filters[kVectors];
      for (int64_t v = 0; v < kVectors; ++v) filters[v] = load(w + k * kConvPanel + v * F32::kLanes);
      for (int64_t r = 0; r < kRows; ++r) {
        const F32 pixel = set(at[r * work.pitch + k]);
        for (int64_t v = 0; v < kVectors; ++v) sums[r][v] = fma(pixel, filters[v], sums[r][v]);
      }
    }
  }
  for (int64_t r = 0; r < kRows; ++r) {
    if (to[r] < 0) continue;
    float* y = static_cast<float*>(out.y.data) + to[r] * out.y_pitch + column;
    for (int64_t v = 0; v < kVectors && column + v * F32::kLanes < out.columns; ++v) {
      F32 total = sums[r][v] + load(out.b + column + v * F32::kLanes);
      if (out.add) total = total + load(y + v * F32::kLanes);
      store(y + v * F32::kLanes, out.relu ? max(set(0.0f), total) : total);
    }
  }
}

void convolve_tile(const ConvWork& work, int64_t tile, const ConvOutput& out, int64_t column) {
  const float* x = static_cast<const float*>(work.x.data) + work.starts[tile];
  const float* w = static_cast<const float*>(out.w) + column / kConvPanel * work.steps * kConvStep * kConvPanel;
  for (int64_t row = 0; row < kTilePixels; row += kRows)
    multiply(work, x + row * work.pitch, w + column % kConvPanel, out, column, out.to + tile * kTilePixels + row);
}

void convolve(const ConvWork& work) {
  for (int64_t i = 0; i < work.count; ++i)
    for (int64_t column = 0; column < work.outputs[i].columns; column += kColumns)
      for (int64_t tile = work.begin; tile < work.end; ++tile) convolve_tile(work, tile, work.outputs[i], column);
}

}  // namespace

const MapConv map_conv = convolve;

}  // namespace uvic::cpu::UVIC_ISA
