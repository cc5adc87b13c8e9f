#include "kernels/ops/linear.h"

#include "kernels/core/with_dtype.h"
#include "kernels/cpu/panels.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd/activation.h"

namespace uvic::cpu {
namespace {

// Rows of one piece of work: fixed, since it sets where the bias gradient's partial sums begin, and small enough that a
// piece is worth a task.
constexpr int64_t kRows = 64;

// db += the sums of dy's columns
void bias_backward(Context& ctx, Tensor dy, Tensor db) {
  if (!db) return;
  const auto& kernels = pick(ctx, avx2::activation_kernels, avx512::activation_kernels);
  const int64_t rows = dy.dim(0), columns = dy.dim(1), pieces = (rows + kRows - 1) / kRows;
  float* sums = ctx.empty(DType::f32, {pieces, columns}).data<float>();
  parallel_for(ctx, rows, kRows, [&](int64_t begin, int64_t end) {
    with_working(dy.dtype(), [&](auto element) {
      using T = decltype(element);
      const T* from = dy.data<T>() + begin * columns;
      kernels.of<T>().column_sums(from, end - begin, columns, sums + begin / kRows * columns);
    });
  });
  for (int64_t p = 0; p < pieces; ++p)
    for (int64_t j = 0; j < columns; ++j) db.data<float>()[j] += sums[p * columns + j];
}

}  // namespace

void linear_forward(Context& ctx, const LinearArgs& a, Tensor y, Tensor pre) {
  const auto scope = ctx.scope("linear");
  matmul(ctx, {.a = matrix(a.x),
               .b = matrix(a.w).transposed(),
               .c = matrix(y),
               .bias = a.b.raw(),
               .act = a.act,
               .residual = matrix(a.residual),
               .pre = matrix(pre),
               .packed_b = a.prepacked});
}

OwnedTensor prepack_linear(Context& ctx, Tensor w) { return prepack(ctx, matrix(w).transposed()); }

void linear_backward(Context& ctx, const LinearBackwardArgs& a, Tensor dy, Tensor dx, Tensor dw, Tensor db) {
  const auto scope = ctx.scope("linear");
  bias_backward(ctx, dy, db);
  if (dw) matmul(ctx, {.a = matrix(dy).transposed(), .b = matrix(a.x), .c = matrix(dw), .accumulate = true});
  if (!dx) return;
  const bool through = a.x_act != Activation::none;
  matmul(ctx, {.a = matrix(dy),
               .b = matrix(a.w),
               .c = matrix(dx),
               .act = a.x_act,
               .pre = through ? matrix(a.x_pre) : Matrix{},
               .backward = through});
}

// The halves of w are views whose rows are 2K apart.
void skip_linear_forward(Context& ctx, const SkipLinearArgs& a, Tensor y) {
  const auto scope = ctx.scope("skip_linear");
  const int64_t k = a.x.dim(1);
  const Matrix w = matrix(a.w);
  matmul(ctx, {.a = matrix(a.x),
               .b = w.column_range(0, k).transposed(),
               .c = matrix(y),
               .a2 = matrix(a.skip),
               .b2 = w.column_range(k, 2 * k).transposed(),
               .bias = a.b.raw(),
               .packed_b = a.prepacked});
}

OwnedTensor prepack_skip_linear(Context& ctx, Tensor w) {
  const int64_t k = w.dim(1) / 2;
  const Matrix both = matrix(w);
  return prepack(ctx, both.column_range(0, k).transposed(), both.column_range(k, 2 * k).transposed());
}

void skip_linear_backward(Context& ctx, const SkipLinearArgs& a, Tensor dy, Tensor dx, Tensor dskip, Tensor dw,
                          Tensor db) {
  const auto scope = ctx.scope("skip_linear");
  const int64_t k = a.x.dim(1);
  bias_backward(ctx, dy, db);
  if (dw) {
    const Matrix d = matrix(dw), dy_t = matrix(dy).transposed();
    matmul(ctx, {.a = dy_t, .b = matrix(a.x), .c = d.column_range(0, k), .accumulate = true});
    matmul(ctx, {.a = dy_t, .b = matrix(a.skip), .c = d.column_range(k, 2 * k), .accumulate = true});
  }
  const Matrix w = matrix(a.w);
  if (dskip) matmul(ctx, {.a = matrix(dy), .b = w.column_range(k, 2 * k), .c = matrix(dskip)});
  if (dx) matmul(ctx, {.a = matrix(dy), .b = w.column_range(0, k), .c = matrix(dx)});
}

}  // namespace uvic::cpu
