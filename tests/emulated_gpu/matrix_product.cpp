#include "matrix_product.h"

#include <algorithm>
#include <vector>

#include "kernels/core/tensor.h"

namespace emulated_gpu {
namespace {

float load(const void* data, int type, int64_t i) {
  return type == CUDA_R_16BF ? uvic::to_float(static_cast<const uvic::bf16*>(data)[i])
                             : static_cast<const float*>(data)[i];
}
void store(void* data, int type, int64_t i, float x) {
  if (type == CUDA_R_16BF) {
    static_cast<uvic::bf16*>(data)[i] = uvic::to_bf16(x);
  } else {
    static_cast<float*>(data)[i] = x;
  }
}

// Element (r, c) of matrix number n.
int64_t place(const MatrixLayout& l, int64_t n, int64_t r, int64_t c) {
  return n * l.batch_stride + (l.order == CUBLASLT_ORDER_COL ? c * l.stride + r : r * l.stride + c);
}
bool is_whole(const MatrixLayout& l) {
  const auto along = static_cast<int64_t>(l.order == CUBLASLT_ORDER_COL ? l.rows : l.columns);
  return l.rows > 0 && l.columns > 0 && l.stride >= along && (l.type == CUDA_R_32F || l.type == CUDA_R_16BF);
}

}  // namespace

size_t size_of(int type) { return type == CUDA_R_16BF ? 2 : 4; }

size_t bytes_of(const MatrixLayout& l) {
  const int64_t last = place(l, l.batch - 1, static_cast<int64_t>(l.rows) - 1, static_cast<int64_t>(l.columns) - 1);
  return static_cast<size_t>(last + 1) * size_of(l.type);
}

bool MatrixProduct::is_possible() {
  for (const MatrixLayout* l : {&a, &b, &c, &d})
    if (!is_whole(*l) || l->batch != d.batch) return false;
  const bool ta = desc.transposed_a == CUBLAS_OP_T, tb = desc.transposed_b == CUBLAS_OP_T;
  m = static_cast<int64_t>(d.rows), n = static_cast<int64_t>(d.columns);
  k = static_cast<int64_t>(ta ? a.rows : a.columns);
  const auto is = [](uint64_t x, int64_t y) { return static_cast<int64_t>(x) == y; };
  if (!is(ta ? a.columns : a.rows, m) || !is(tb ? b.rows : b.columns, n) || !is(tb ? b.columns : b.rows, k))
    return false;
  if (c.rows != d.rows || c.columns != d.columns) return false;
  const bool has_types = a.type == b.type && c.type == d.type && (d.type == a.type || d.type == CUDA_R_32F);
  if (desc.epilogue == CUBLASLT_EPILOGUE_BIAS)
    return has_types && desc.bias && (desc.bias_type == -1 || desc.bias_type == d.type);
  return has_types && desc.epilogue == CUBLASLT_EPILOGUE_DEFAULT;
}

uint64_t MatrixProduct::hash() const {
  uint64_t h = 14695981039346656037u;
  const auto add = [&h](auto x) { h = (h ^ static_cast<uint64_t>(x)) * 1099511628211u; };
  add(desc.transposed_a), add(desc.transposed_b), add(desc.epilogue);
  for (const MatrixLayout* l : {&a, &b, &c, &d})
    add(l->type), add(l->rows), add(l->columns), add(l->stride), add(l->order), add(l->batch), add(l->batch_stride);
  return h;
}

void MatrixProduct::run(float alpha, const void* pa, const void* pb, float beta, const void* pc, void* pd) const {
  std::vector<float> left(static_cast<size_t>(k * m)), right(static_cast<size_t>(n * k)), sum(static_cast<size_t>(m));
  const bool ta = desc.transposed_a == CUBLAS_OP_T, tb = desc.transposed_b == CUBLAS_OP_T;
  for (int64_t batch = 0; batch < d.batch; ++batch) {
    for (int64_t p = 0; p < k; ++p)
      for (int64_t i = 0; i < m; ++i)
        left[static_cast<size_t>(p * m + i)] = load(pa, a.type, ta ? place(a, batch, p, i) : place(a, batch, i, p));
    for (int64_t j = 0; j < n; ++j)
      for (int64_t p = 0; p < k; ++p)
        right[static_cast<size_t>(j * k + p)] = load(pb, b.type, tb ? place(b, batch, j, p) : place(b, batch, p, j));
    for (int64_t j = 0; j < n; ++j) {
      std::fill(sum.begin(), sum.end(), 0.0f);
      for (int64_t p = 0; p < k; ++p) {
        const float x = right[static_cast<size_t>(j * k + p)];
        const float* const column = left.data() + p * m;
        for (int64_t i = 0; i < m; ++i) sum[static_cast<size_t>(i)] += column[i] * x;
      }
      for (int64_t i = 0; i < m; ++i) {
        float y = alpha * sum[static_cast<size_t>(i)];
        if (beta != 0) y += beta * load(pc, c.type, place(c, batch, i, j));
        if (desc.epilogue == CUBLASLT_EPILOGUE_BIAS) y += load(desc.bias, d.type, i);
        store(pd, d.type, place(d, batch, i, j), y);
      }
    }
  }
}

}  // namespace emulated_gpu
