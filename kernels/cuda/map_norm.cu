#include "kernels/ops/map_norm.h"

#include "kernels/cuda/map_device.cuh"

namespace uvic::cuda {
namespace {

constexpr int64_t kMostRuns = 256;  // of an image's pixels, for its sums: enough to fill a GPU with one image

// group_norm_kernel: a block adds up the sums [B, runs, 2, C] of one group of an image, and makes its coefficients
// [B, 2, C].
__global__ void __launch_bounds__(kThreads)
    group_norm_kernel(const MapSums from, const float* w, const float* b, int64_t C, int64_t groups, double pixels,
                      double eps, float* coefficients) {
  const int64_t n = blockIdx.x / groups, each = C / groups, begin = blockIdx.x % groups * each;
  double sum = 0, squares = 0;
  for (int64_t t = threadIdx.x; t < from.runs * each; t += kThreads) {
    const double* at = from.sums + (n * from.runs + t / each) * 2 * C + begin + t % each;
    sum += at[0];
    squares += at[C];
  }
  const double count = pixels * static_cast<double>(each), mean = block_sum(sum) / count;
  const double inverse = 1 / sqrt(max(0.0, block_sum(squares) / count - mean * mean) + eps);
  for (int64_t c = begin + threadIdx.x; c < begin + each; c += kThreads) {
    const double scale = static_cast<double>(w[c]) * inverse;
    coefficients[n * 2 * C + c] = static_cast<float>(scale);
    coefficients[(n * 2 + 1) * C + c] = static_cast<float>(static_cast<double>(b[c]) - mean * scale);
  }
}

__device__ float activated(float x, MapActivation act) {
  switch (act) {
    case MapActivation::none: break;
    case MapActivation::relu: return fmaxf(0.0f, x);
    case MapActivation::silu: return x / (1.0f + expf(-x));
  }
  return x;
}

template <class T>
struct MapRows {
  DeviceMap<T> x, y;
  const float* coefficients;  // may be null
  int64_t C, pieces, first, up;
  MapActivation act;
  __device__ void operator()(int64_t t) const {
    const Place p = place(t, y.index.h, y.index.w, pieces);
    const int64_t row = first + p.i, c = p.part * Piece<T>::kCount;
    Piece<T> result = {};
    if (row >= 0 && row < up * x.index.h) {
      result = x.piece({0, row / up, p.j / up, p.part});
      for (int k = 0; k < Piece<T>::kCount; ++k) {
        float v = to_float(result.v[k]);
        if (coefficients) v = __fmaf_rn(coefficients[c + k], v, coefficients[C + c + k]);
        result.v[k] = from_float<T>(activated(v, act));
      }
    }
    y.piece(p) = result;
  }
};

}  // namespace

void group_norm(Context& ctx, const GroupNormArgs& a, Tensor coefficients) {
  const auto scope = ctx.scope("group_norm");
  with_working(a.x.data.dtype(), [&](auto element) {
    const MapSums sums = map_sums<2, decltype(element)>(ctx, a.x, kMostRuns);
    launch(ctx, {static_cast<unsigned>(a.x.B * a.groups)}, group_norm_kernel, sums, a.w.data<float>(),
           a.b.data<float>(), a.x.channels, a.groups, static_cast<double>(a.x.h * a.x.w), a.eps,
           coefficients.data<float>());
  });
}

void map_rows(Context& ctx, const MapRowsArgs& a, FeatureMap y) {
  const float* coefficients = a.coefficients ? a.coefficients.data<float>() : nullptr;
  with_working(y.data.dtype(), [&](auto element) {
    using T = decltype(element);
    const int64_t pieces = pieces_of<T>(y.channels);
    for_each(ctx, pixels_of(y) * pieces,
             MapRows<T>{device_map<T>(a.x), device_map<T>(y), coefficients, y.channels, pieces, a.first, a.up, a.act});
  });
}

}  // namespace uvic::cuda
