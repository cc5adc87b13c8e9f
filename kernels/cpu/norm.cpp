#include "kernels/ops/norm.h"

#include "kernels/core/with_dtype.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd/norm.h"

namespace uvic::cpu {
namespace {

constexpr int64_t kRows = 64;  // one piece: its length decides where the sums of dw and db are cut

const NormKernels& kernels(const Context& ctx) { return pick(ctx, avx2::norm_kernels, avx512::norm_kernels); }

}  // namespace

void layernorm_forward(Context& ctx, const LayerNormArgs& a, Tensor y, Tensor stats) {
  const int64_t C = a.x.dim(1);
  with_working(a.x.dtype(), [&](auto element) {
    using T = decltype(element);
    parallel_for(ctx, a.x.dim(0), kRows, [&](int64_t begin, int64_t end) {
      const T* x = a.x.data<T>() + begin * C;
      T* out = y.data<T>() + begin * C;
      float* s = stats ? stats.data<float>() + begin * 2 : nullptr;
      if constexpr (sizeof(T) == 2) {
        kernels(ctx).forward_bf16(x, a.w.data<T>(), a.b.data<T>(), a.eps, end - begin, C, out, s);
      } else {
        kernels(ctx).forward_f32(x, a.w.data<T>(), a.b.data<T>(), a.eps, end - begin, C, out, s);
      }
    });
  });
}

void layernorm_backward(Context& ctx, const LayerNormArgs& a, Tensor stats, Tensor dy, Tensor dx, Tensor dw,
                        Tensor db) {
  const auto scope = ctx.scope("layernorm_backward");
  const int64_t N = a.x.dim(0), C = a.x.dim(1), pieces = (N + kRows - 1) / kRows;
  float* sums = ctx.empty(DType::f32, {pieces, 2, C}).data<float>();
  with_working(a.x.dtype(), [&](auto element) {
    using T = decltype(element);
    parallel_for(ctx, N, kRows, [&](int64_t begin, int64_t end) {
      const T *x = a.x.data<T>() + begin * C, *g = dy.data<T>() + begin * C;
      const float* s = stats.data<float>() + begin * 2;
      T* out = dx.data<T>() + begin * C;
      float *piece_dw = sums + begin / kRows * 2 * C, *piece_db = piece_dw + C;
      if constexpr (sizeof(T) == 2) {
        kernels(ctx).backward_bf16(x, a.w.data<T>(), s, g, end - begin, C, out, piece_dw, piece_db);
      } else {
        kernels(ctx).backward_f32(x, a.w.data<T>(), s, g, end - begin, C, out, piece_dw, piece_db);
      }
    });
  });
  for (int64_t p = 0; p < pieces; ++p)
    for (int64_t i = 0; i < C; ++i) {
      dw.data<float>()[i] += sums[2 * p * C + i];
      db.data<float>()[i] += sums[(2 * p + 1) * C + i];
    }
}

}  // namespace uvic::cpu
