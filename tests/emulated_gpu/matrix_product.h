#pragma once

// What cublasLtMatmul does, on the host.

#include <cstddef>
#include <cstdint>

#include "cublasLt.h"

struct cublasLtMatmulDescOpaque_t {
  int32_t transposed_a = CUBLAS_OP_N, transposed_b = CUBLAS_OP_N;
  uint32_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const void* bias = nullptr;
  int32_t bias_type = -1;
};
struct cublasLtMatrixLayoutOpaque_t {
  cudaDataType_t type;
  uint64_t rows, columns;
  int64_t stride;
  int32_t order = CUBLASLT_ORDER_COL, batch = 1;
  int64_t batch_stride = 0;
};

namespace emulated_gpu {

using MatrixLayout = cublasLtMatrixLayoutOpaque_t;

size_t size_of(int type);
size_t bytes_of(const MatrixLayout& layout);  // from its first element to its last

// d [m, n] = alpha op(a) [m, k] op(b) [k, n] + beta c + bias [m]
struct MatrixProduct {
  cublasLtMatmulDescOpaque_t desc;
  MatrixLayout a, b, c, d;
  int64_t m = 0, n = 0, k = 0;

  bool is_possible();     // sets m, n and k
  uint64_t hash() const;  // of what an algorithm depends on
  void run(float alpha, const void* pa, const void* pb, float beta, const void* pc, void* pd) const;
};

}  // namespace emulated_gpu
