#include "kernels/ops/wide_attention.h"

#include <algorithm>
#include <cstring>

#include "kernels/cpu/matmul.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd/softmax.h"

namespace uvic::cpu {
namespace {

// Rows whose scores exist at a time: enough that the keys and values, which every block reads, cost little beside their
// products; at L = 16384 (images of 1024 x 1024) their scores take 17 MB.
constexpr int64_t kBlock = 256;

}  // namespace

// Weights are divided by their sum behind the product with v, when there are D numbers a row instead of L.
void wide_attention(Context& ctx, const WideAttentionArgs& a, Tensor o) {
  const auto scope = ctx.scope("wide_attention");
  const int64_t L = a.q.dim(0), D = a.q.dim(1);
  const bool half = a.q.dtype() == DType::bf16;
  const SoftmaxKernels& kernels = pick(ctx, avx2::softmax_kernels, avx512::softmax_kernels);
  const Tensor scores = ctx.empty(DType::f32, {std::min(kBlock, L), L}), sums = ctx.empty(DType::f32, {kBlock});
  const Tensor weights = half ? ctx.empty(DType::bf16, scores.shape()) : scores;
  for (int64_t begin = 0; begin < L; begin += kBlock) {
    const int64_t rows = std::min(kBlock, L - begin);
    const Tensor s = scores.rows(0, rows), w = weights.rows(0, rows), out = o.rows(begin, begin + rows);
    if (half) std::memset(s.raw(), 0, s.bytes()), std::memset(out.raw(), 0, out.bytes());
    matmul(ctx, {.a = matrix(a.q.rows(begin, begin + rows)),
                 .b = matrix(a.k).transposed(),
                 .c = matrix(s),
                 .accumulate = half});
    parallel_for(ctx, rows, rows_for(L), [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        float* row = s.data<float>() + i * L;
        sums.data<float>()[i] =
            half ? kernels.bf16(row, L, a.scale, w.data<bf16>() + i * L) : kernels.f32(row, L, a.scale);
      }
    });
    matmul(ctx, {.a = matrix(w), .b = matrix(a.v), .c = matrix(out), .accumulate = half});
    for (int64_t i = 0; i < rows; ++i) {
      float* row = out.data<float>() + i * D;
      const float inverse = 1 / sums.data<float>()[i];
      for (int64_t d = 0; d < D; ++d) row[d] *= inverse;
    }
  }
}

}  // namespace uvic::cpu
