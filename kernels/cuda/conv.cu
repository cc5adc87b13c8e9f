#include "kernels/ops/conv.h"

#include "kernels/cuda/launch.cuh"

namespace uvic::cuda {
namespace {

// The convolutions of these networks have three or four channels: too few for a matrix product, and 1e-4 of a step's
// work. Plain loops, a thread an output; a block a weight.
struct Sizes {
  int64_t B, C, M, h, w, k;
};

// y[b, m, i, j] = b[m] + sum over c, u, v of x[b, c, i + u - k/2, j + v - k/2] w[m, c, u, v]
template <class T>
struct Forward {
  Sizes s;
  const T *x, *weight, *bias;
  float* y;
  __device__ void operator()(int64_t o) const {
    const int64_t j = o % s.w, i = o / s.w % s.h, m = o / (s.w * s.h) % s.M, b = o / (s.w * s.h * s.M);
    float sum = 0;
    for (int64_t c = 0; c < s.C; ++c)
      for (int64_t u = 0; u < s.k; ++u)
        for (int64_t v = 0; v < s.k; ++v) {
          const int64_t row = i + u - s.k / 2, column = j + v - s.k / 2;
          if (row < 0 || row >= s.h || column < 0 || column >= s.w) continue;
          sum = __fmaf_rn(to_float(x[((b * s.C + c) * s.h + row) * s.w + column]),
                          to_float(weight[((m * s.C + c) * s.k + u) * s.k + v]), sum);
        }
    y[o] = sum + to_float(bias[m]);
  }
};

// dx[b, c, i, j] = sum over m, u, v of dy[b, m, i - u + k/2, j - v + k/2] w[m, c, u, v]
template <class T>
struct InputGradient {
  Sizes s;
  const T* weight;
  const float* dy;
  T* dx;
  __device__ void operator()(int64_t o) const {
    const int64_t j = o % s.w, i = o / s.w % s.h, c = o / (s.w * s.h) % s.C, b = o / (s.w * s.h * s.C);
    float sum = 0;
    for (int64_t m = 0; m < s.M; ++m)
      for (int64_t u = 0; u < s.k; ++u)
        for (int64_t v = 0; v < s.k; ++v) {
          const int64_t row = i - u + s.k / 2, column = j - v + s.k / 2;
          if (row < 0 || row >= s.h || column < 0 || column >= s.w) continue;
          sum = __fmaf_rn(dy[((b * s.M + m) * s.h + row) * s.w + column],
                          to_float(weight[((m * s.C + c) * s.k + u) * s.k + v]), sum);
        }
    dx[o] = from_float<T>(sum);
  }
};

// conv2d_weight_gradient_kernel: block o sums over all pixels of all images for weight o of [M, C, k, k].
template <class T>
__global__ void __launch_bounds__(kThreads)
    conv2d_weight_gradient_kernel(const Sizes s, const T* x, const float* dy, float* dw) {
  const int64_t o = blockIdx.x, v = o % s.k, u = o / s.k % s.k, c = o / (s.k * s.k) % s.C, m = o / (s.k * s.k * s.C);
  float sum = 0;
  for (int64_t p = threadIdx.x; p < s.B * s.h * s.w; p += kThreads) {
    const int64_t b = p / (s.h * s.w), i = p / s.w % s.h, j = p % s.w;
    const int64_t row = i + u - s.k / 2, column = j + v - s.k / 2;
    if (row < 0 || row >= s.h || column < 0 || column >= s.w) continue;
    sum = __fmaf_rn(dy[((b * s.M + m) * s.h + i) * s.w + j], to_float(x[((b * s.C + c) * s.h + row) * s.w + column]),
                    sum);
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) dw[o] += sum;
}

// conv2d_bias_gradient_kernel: block m sums dy over all pixels of channel m.
__global__ void __launch_bounds__(kThreads) conv2d_bias_gradient_kernel(const Sizes s, const float* dy, float* db) {
  const int64_t m = blockIdx.x, hw = s.h * s.w;
  float sum = 0;
  for (int64_t p = threadIdx.x; p < s.B * hw; p += kThreads) sum += dy[(p / hw * s.M + m) * hw + p % hw];
  sum = block_sum(sum);
  if (threadIdx.x == 0) db[m] += sum;
}

Sizes sizes_of(const Conv2dArgs& a) { return {a.x.dim(0), a.x.dim(1), a.w.dim(0), a.x.dim(2), a.x.dim(3), a.w.dim(2)}; }

}  // namespace

void conv2d_forward(Context& ctx, const Conv2dArgs& a, Tensor y) {
  with_working(a.x.dtype(), [&](auto element) {
    using T = decltype(element);
    for_each(ctx, y.numel(), Forward<T>{sizes_of(a), a.x.data<T>(), a.w.data<T>(), a.b.data<T>(), y.data<float>()});
  });
}

void conv2d_backward(Context& ctx, const Conv2dArgs& a, Tensor dy, Tensor dx, Tensor dw, Tensor db) {
  const Sizes s = sizes_of(a);
  launch(ctx, {static_cast<unsigned>(s.M)}, conv2d_bias_gradient_kernel, s, dy.data<float>(), db.data<float>());
  with_working(a.x.dtype(), [&](auto element) {
    using T = decltype(element);
    launch(ctx, {static_cast<unsigned>(a.w.numel())}, conv2d_weight_gradient_kernel<T>, s, a.x.data<T>(),
           dy.data<float>(), dw.data<float>());
    if (dx) for_each(ctx, dx.numel(), InputGradient<T>{s, a.w.data<T>(), dy.data<float>(), dx.data<T>()});
  });
}

}  // namespace uvic::cuda
