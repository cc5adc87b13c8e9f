#include "kernels/ops/map_norm.h"

#include <cmath>
#include <cstring>

#include "kernels/cpu/feature_map.h"
#include "kernels/cpu/simd/map_norm.h"

namespace uvic::cpu {
namespace {

constexpr int64_t kRows = 8;  // of one piece of sums; fixed, so that these do not depend on the threads

const MapNormKernels& kernels(const Context& ctx) {
  return pick(ctx, avx2::map_norm_kernels, avx512::map_norm_kernels);
}

int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

}  // namespace

void group_norm(Context& ctx, const GroupNormArgs& a, Tensor coefficients) {
  const auto scope = ctx.scope("group_norm");
  const FeatureMap& x = a.x;
  const int64_t C = x.channels, pieces = (x.h + kRows - 1) / kRows, each = C / a.groups;
  double* all = ctx.empty(DType::f64, {pieces, 2, C}).data<double>();
  for (int64_t n = 0; n < x.B; ++n) {
    parallel_for(ctx, x.h, kRows, [&](int64_t begin, int64_t end) {
      double* sums = all + begin / kRows * 2 * C;
      std::fill(sums, sums + 2 * C, 0.0);
      for (int64_t i = begin; i < end; ++i)
        kernels(ctx).moments(numbers(x), pixel_at(x, n, i, 0) * x.pitch(), x.pitch(), x.w, C, sums, sums + C);
    });
    for (int64_t p = 1; p < pieces; ++p)
      for (int64_t c = 0; c < 2 * C; ++c) all[c] += all[p * 2 * C + c];
    float* scale = coefficients.data<float>() + n * 2 * C;
    for (int64_t g = 0; g < a.groups; ++g) {
      double sum = 0, square = 0;
      for (int64_t c = g * each; c < (g + 1) * each; ++c) sum += all[c], square += all[C + c];
      const double count = static_cast<double>(each * x.h * x.w), mean = sum / count;
      const double inverse = 1 / std::sqrt(std::max(0.0, square / count - mean * mean) + a.eps);
      for (int64_t c = g * each; c < (g + 1) * each; ++c) {
        const double w = static_cast<double>(a.w.data<float>()[c]) * inverse;
        scale[c] = static_cast<float>(w);
        scale[C + c] = static_cast<float>(static_cast<double>(a.b.data<float>()[c]) - mean * w);
      }
    }
  }
}

void map_rows(Context& ctx, const MapRowsArgs& a, FeatureMap y) {
  const auto scope = ctx.scope("map_rows");
  const FeatureMap& x = a.x;
  const int64_t C = x.channels;
  const float* scale = a.coefficients ? a.coefficients.data<float>() : nullptr;
  const auto clear = [&](int64_t pixel) {
    for (int64_t plane = 0; plane < (y.format() == MapFormat::split ? 2 : 1); ++plane)
      for (int64_t j = 0; j < y.w; ++j) {
        const int64_t at = (pixel + j) * y.pitch() + y.first + plane * y.plane();
        const size_t size = size_of(y.data.dtype());
        std::memset(static_cast<char*>(y.data.raw()) + static_cast<size_t>(at) * size, 0,
                    static_cast<size_t>(round_up(C, 16)) * size);
      }
  };
  parallel_for(ctx, y.h, 1, [&](int64_t i, int64_t) {
    const int64_t row = a.first + i, pixel = pixel_at(y, 0, i, 0);
    if (row < 0 || row >= a.up * x.h) return clear(pixel);
    kernels(ctx).row({.x = numbers(x),
                      .y = numbers(y),
                      .x_at = pixel_at(x, 0, row / a.up, 0) * x.pitch(),
                      .x_pitch = x.pitch(),
                      .y_at = pixel * y.pitch(),
                      .y_pitch = y.pitch(),
                      .count = x.w,
                      .n = round_up(C, 16),
                      .up = a.up,
                      .scale = scale,
                      .shift = scale ? scale + C : nullptr,
                      .act = static_cast<int>(a.act)});
  });
}

}  // namespace uvic::cpu
