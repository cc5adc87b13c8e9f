#include "kernels/ops/norm.h"

#include "kernels/cuda/launch.cuh"

namespace uvic::cuda {
namespace {

constexpr int kRows = kThreads / kWarp;  // of a block: a warp each

// layernorm_forward_kernel: one warp makes one row of y, N numbers a lane at a time, in three passes over x, the last
// two from cache: E[x^2] - mean^2 would cancel.
template <class T, int N>
__global__ void __launch_bounds__(kThreads) layernorm_forward_kernel(const T* x, const T* w, const T* b, float eps,
                                                                     int64_t rows, int64_t C, T* y, float* stats) {
  const int lane = threadIdx.x % kWarp;
  const int64_t row = int64_t{blockIdx.x} * kRows + threadIdx.x / kWarp;
  if (row >= rows) return;
  x += row * C;
  y += row * C;
  float total = 0, squares = 0;
  for (int64_t i = lane * N; i < C; i += kWarp * N) {
    const Numbers<T, N> from = load<N>(x + i);
    for (int k = 0; k < N; ++k) total += to_float(from.v[k]);
  }
  const float inverse = 1.0f / static_cast<float>(C), mean = warp_sum(total) * inverse;
  for (int64_t i = lane * N; i < C; i += kWarp * N) {
    const Numbers<T, N> from = load<N>(x + i);
    for (int k = 0; k < N; ++k) {
      const float d = to_float(from.v[k]) - mean;
      squares = __fmaf_rn(d, d, squares);
    }
  }
  const float scale = 1.0f / sqrtf(warp_sum(squares) * inverse + eps);
  for (int64_t i = lane * N; i < C; i += kWarp * N) {
    const Numbers<T, N> from = load<N>(x + i), slope = load<N>(w + i), shift = load<N>(b + i);
    Numbers<T, N> to;
    for (int k = 0; k < N; ++k)
      to.v[k] =
          from_float<T>(__fmaf_rn((to_float(from.v[k]) - mean) * scale, to_float(slope.v[k]), to_float(shift.v[k])));
    store(to, y + i);
  }
  if (!stats || lane != 0) return;
  stats[2 * row] = mean;
  stats[2 * row + 1] = scale;
}

// layernorm_backward_kernel: one warp adds to one row of dx: (dy w - mean(dy w) - xhat mean(dy w xhat)) / deviation.
template <class T, int N>
__global__ void __launch_bounds__(kThreads)
    layernorm_backward_kernel(const T* x, const T* w, const float* stats, const T* dy, int64_t rows, int64_t C, T* dx) {
  const int lane = threadIdx.x % kWarp;
  const int64_t row = int64_t{blockIdx.x} * kRows + threadIdx.x / kWarp;
  if (row >= rows) return;
  x += row * C;
  dy += row * C;
  dx += row * C;
  const float mean = stats[2 * row], scale = stats[2 * row + 1];
  float s1 = 0, s2 = 0;
  for (int64_t i = lane * N; i < C; i += kWarp * N) {
    const Numbers<T, N> from = load<N>(x + i), d = load<N>(dy + i), slope = load<N>(w + i);
    for (int k = 0; k < N; ++k) {
      const float g = to_float(d.v[k]) * to_float(slope.v[k]);
      s1 += g;
      s2 = __fmaf_rn(g, (to_float(from.v[k]) - mean) * scale, s2);
    }
  }
  s1 = warp_sum(s1) / static_cast<float>(C);
  s2 = warp_sum(s2) / static_cast<float>(C);
  for (int64_t i = lane * N; i < C; i += kWarp * N) {
    const Numbers<T, N> from = load<N>(x + i), d = load<N>(dy + i), slope = load<N>(w + i);
    Numbers<T, N> to = load<N>(dx + i);
    for (int k = 0; k < N; ++k) {
      const float xhat = (to_float(from.v[k]) - mean) * scale;
      const float g = __fmaf_rn(to_float(d.v[k]), to_float(slope.v[k]), -s1);
      to.v[k] = from_float<T>(__fmaf_rn(__fmaf_rn(-xhat, s2, g), scale, to_float(to.v[k])));
    }
    store(to, dx + i);
  }
}

// The terms of dw and db.
template <class T>
struct ParameterTerms {
  const T *x, *dy;
  const float* stats;
  int64_t C;
  __device__ void operator()(int64_t row, int64_t c, float* sum) const {
    const float d = to_float(dy[row * C + c]);
    sum[0] = __fmaf_rn(d, (to_float(x[row * C + c]) - stats[2 * row]) * stats[2 * row + 1], sum[0]);
    sum[1] += d;
  }
};

}  // namespace

void layernorm_forward(Context& ctx, const LayerNormArgs& a, Tensor y, Tensor stats) {
  const int64_t N = a.x.dim(0), C = a.x.dim(1);
  if (N == 0) return;
  with_working(a.x.dtype(), [&](auto element) {
    using T = decltype(element);
    const T *x = a.x.data<T>(), *w = a.w.data<T>(), *b = a.b.data<T>();
    with_numbers_a_thread(
        [&](auto numbers) {
          launch(ctx, {blocks_for(N, kRows)}, layernorm_forward_kernel<T, decltype(numbers)::value>, x, w, b, a.eps, N,
                 C, y.data<T>(), stats ? stats.data<float>() : nullptr);
        },
        C, x, w, b, y.data<T>());
  });
}

void layernorm_backward(Context& ctx, const LayerNormArgs& a, Tensor stats, Tensor dy, Tensor dx, Tensor dw,
                        Tensor db) {
  const auto scope = ctx.scope("layernorm_backward");
  const int64_t N = a.x.dim(0), C = a.x.dim(1);
  if (N == 0) return;
  with_working(a.x.dtype(), [&](auto element) {
    using T = decltype(element);
    const T *x = a.x.data<T>(), *w = a.w.data<T>(), *d = dy.data<T>();
    with_numbers_a_thread(
        [&](auto numbers) {
          launch(ctx, {blocks_for(N, kRows)}, layernorm_backward_kernel<T, decltype(numbers)::value>, x, w,
                 stats.data<float>(), d, N, C, dx.data<T>());
        },
        C, x, w, d, dx.data<T>());
    add_column_sums<2>(ctx, N, C, ParameterTerms<T>{x, d, stats.data<float>(), C},
                       {{dw.data<float>(), db.data<float>()}});
  });
}

}  // namespace uvic::cuda
