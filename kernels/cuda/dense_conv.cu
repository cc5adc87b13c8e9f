#include "kernels/cuda/dense_conv.h"

#include "kernels/cuda/map_device.cuh"
#include "kernels/cuda/matmul.h"

namespace uvic::cuda {
namespace {

constexpr int64_t kWindowBytes = int64_t{64} << 20;  // of windows at a time: most of them stay in an H200's L2

// Windows [rows, kh kw C] of the results from `first` on, sixteen bytes at a time.
template <class T>
struct Windows {
  const T* x;
  T* windows;
  int64_t first, h, w, H, W, C, kh, kw, stride, pieces;  // pieces: of a row
  __device__ void operator()(int64_t t) const {
    const Place p = place(first + t / pieces, h, w, 1);
    const int64_t k = t % pieces * Piece<T>::kCount, tap = k / C;
    const int64_t row = p.i * stride + tap / kw, column = p.j * stride + tap % kw;
    reinterpret_cast<Piece<T>*>(windows)[t] =
        *reinterpret_cast<const Piece<T>*>(x + ((p.n * H + row) * W + column) * C + k % C);
  }
};

}  // namespace

Tensor dense_conv(Context& ctx, const DenseConv& c) {
  const Shape shape = c.y();
  const int64_t rows = shape[0] * shape[1] * shape[2], M = shape[3], K = c.filters.numel() / M, C = c.x.dim(3);
  const bool whole = K == C && c.stride == 1;  // each pixel is its own window
  const DType dtype = c.x.dtype();
  if (!whole)
    if (const Tensor y = cudnn_conv(ctx, c)) return y;
  const Tensor y = ctx.empty(DType::f32, shape), y_rows = y.view({rows, M});
  const Matrix filters = matrix(c.filters.view({M, K})).transposed();
  if (whole) {
    product(ctx, {.a = matrix(c.x.view({rows, C})), .b = filters, .c = matrix(y_rows)});
    return y;
  }
  const auto scope = ctx.scope("windows");
  const int64_t most = std::max<int64_t>(1, kWindowBytes / (K * static_cast<int64_t>(size_of(dtype))));
  const Tensor windows = ctx.empty(dtype, {std::min(rows, most), K});
  for (int64_t first = 0; first < rows; first += most) {
    const Tensor part = windows.rows(0, std::min(most, rows - first));
    with_working(dtype, [&](auto element) {
      using T = decltype(element);
      const int64_t pieces = K / Piece<T>::kCount;
      for_each(ctx, part.dim(0) * pieces,
               Windows<T>{c.x.data<T>(), part.data<T>(), first, shape[1], shape[2], c.x.dim(1), c.x.dim(2), C,
                          c.filters.dim(1), c.filters.dim(2), c.stride, pieces});
    });
    product(ctx, {.a = matrix(part), .b = filters, .c = matrix(y_rows.rows(first, first + part.dim(0)))});
  }
  return y;
}

}  // namespace uvic::cuda
