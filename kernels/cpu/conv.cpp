#include "kernels/ops/conv.h"

#include <algorithm>

#include "kernels/core/with_dtype.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd/conv.h"
#include "kernels/ops/pointwise.h"

namespace uvic::cpu {
namespace {

constexpr int64_t kLanes = 16;  // of the kernels: they read this far past a pixel, and multiply this many at once

const ConvKernels& kernels(const Context& ctx) { return pick(ctx, avx2::conv_kernels, avx512::conv_kernels); }

int64_t plane_size(const PaddedPlanes& p) { return (p.h + p.k - 1) * p.stride; }

// The convolutions of these networks have three or four channels: too few for a matrix product, so we convolve
// directly, along rows, over a padded f32 copy that makes borders and bf16 disappear.
PaddedPlanes padding_of(const Tensor& image, int64_t k) {
  const int64_t w = image.dim(3);
  return {image.dim(2), w, k, (w + kLanes - 1) / kLanes * kLanes + k - 1};
}

// image [B, C, h, w] as B C padded planes, from the arena.
float* pad(Context& ctx, const PaddedPlanes& p, Tensor image) {
  const int64_t planes = image.dim(0) * image.dim(1), size = plane_size(p), border = p.k / 2;
  float* padded = ctx.empty(DType::f32, {planes, size}).data<float>();
  with_working(image.dtype(), [&](auto element) {
    using T = decltype(element);
    parallel_for(ctx, planes, rows_for(size), [&](int64_t begin, int64_t end) {
      std::fill(padded + begin * size, padded + end * size, 0.0f);
      for (int64_t i = begin; i < end; ++i)
        for (int64_t row = 0; row < p.h; ++row) {
          const T* src = image.data<T>() + (i * p.h + row) * p.w;
          float* dst = padded + i * size + (row + border) * p.stride + border;
          for (int64_t j = 0; j < p.w; ++j) dst[j] = to_float(src[j]);
        }
    });
  });
  return padded;
}

float* as_f32(Context& ctx, Tensor t) {
  if (t.dtype() == DType::f32) return t.data<float>();
  const Tensor copy = ctx.empty(DType::f32, t.shape());
  cast(ctx, t, copy);
  return copy.data<float>();
}

void correlate(Context& ctx, const PaddedPlanes& p, const float* padded, const float* weight, const float* b, int64_t C,
               Tensor out) {
  const int64_t M = out.dim(1), multiplications = p.w * M * C * p.k * p.k;  // of one row
  parallel_for(ctx, out.dim(0) * p.h, rows_for(multiplications / kLanes), [&](int64_t begin, int64_t end) {
    while (begin < end) {
      const int64_t image = begin / p.h, first = begin % p.h, last = std::min(p.h, first + end - begin);
      kernels(ctx).correlate(p, padded + image * C * plane_size(p), weight, b, M, C, first, last,
                             out.data<float>() + image * M * p.h * p.w);
      begin += last - first;
    }
  });
}

}  // namespace

void conv2d_forward(Context& ctx, const Conv2dArgs& a, Tensor y) {
  const auto scope = ctx.scope("conv2d_forward");
  const PaddedPlanes p = padding_of(a.x, a.w.dim(2));
  const float *x = pad(ctx, p, a.x), *w = as_f32(ctx, a.w), *b = as_f32(ctx, a.b);
  correlate(ctx, p, x, w, b, a.x.dim(1), y);
}

void conv2d_backward(Context& ctx, const Conv2dArgs& a, Tensor dy, Tensor dx, Tensor dw, Tensor db) {
  const auto scope = ctx.scope("conv2d_backward");
  const int64_t B = a.x.dim(0), C = a.x.dim(1), M = a.w.dim(0), k = a.w.dim(2);
  const PaddedPlanes p = padding_of(a.x, k);
  const int64_t size = plane_size(p), image = p.h * p.w;
  const float *x = pad(ctx, p, a.x), *g = dy.data<float>();

  // One filter plane after the other, and the images in order inside it: no partial sums to keep.
  parallel_for(ctx, M * C, rows_for(B * image * k * k / kLanes), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      for (int64_t n = 0; n < B; ++n)
        kernels(ctx).weight_gradient(p, x + (n * C + i % C) * size, g + (n * M + i / C) * image,
                                     dw.data<float>() + i * k * k);
  });
  for (int64_t m = 0; m < M; ++m)
    for (int64_t n = 0; n < B; ++n) db.data<float>()[m] += kernels(ctx).sum(g + (n * M + m) * image, image);

  if (!dx) return;
  // dx is the correlation of dy with the filters turned by half a turn and their channels swapped.
  const float *w = as_f32(ctx, a.w), *padded = pad(ctx, p, dy);
  float* turned = ctx.empty(DType::f32, {C, M, k, k}).data<float>();
  for (int64_t c = 0; c < C; ++c)
    for (int64_t m = 0; m < M; ++m)
      for (int64_t i = 0; i < k * k; ++i) turned[(c * M + m) * k * k + i] = w[(m * C + c) * k * k + k * k - 1 - i];
  const Tensor out = dx.dtype() == DType::f32 ? dx : ctx.empty(DType::f32, dx.shape());
  correlate(ctx, p, padded, turned, nullptr, M, out);
  if (dx.dtype() != DType::f32) cast(ctx, out, dx);
}

}  // namespace uvic::cpu
