#pragma once

#include <memory>

#include "kernels/core/context.h"
#include "kernels/ops/activation.h"

namespace uvic::cpu {

// A view of a matrix: element (i, j) is data[i * row_stride + j * column_stride], and one of the strides is 1.
struct Matrix {
  void* data = nullptr;
  DType dtype = DType::f32;
  int64_t rows = 0, columns = 0, row_stride = 0, column_stride = 1;

  Matrix transposed() const { return {data, dtype, columns, rows, column_stride, row_stride}; }
  Matrix column_range(int64_t begin, int64_t end) const {
    char* at = static_cast<char*>(data) + static_cast<size_t>(begin * column_stride) * size_of(dtype);
    return {at, dtype, rows, end - begin, row_stride, column_stride};
  }
};
inline Matrix matrix(const Tensor& t) { return {t.raw(), t.dtype(), t.dim(0), t.dim(1), t.dim(1), 1}; }

// c = act(a b + bias) + residual, or c += a b. Sums in f32, rounded once.
struct Matmul {
  Matrix a, b, c;              // [R, S], [S, C] of one dtype, f32 or bf16; [R, C] f32 or that dtype, rows contiguous
  const void* bias = nullptr;  // [C], dtype of a
  Activation act = Activation::none;
  Matrix residual = {};     // [R, C], f32 or the dtype of a, rows contiguous; may be c itself; no data: none
  bool accumulate = false;  // c += a b; c is f32, and there is no bias, activation or residual
};

// The CPU backend's state: everything that is expensive to make and depends on shapes only. Reached through
// ctx.backend_state<Plans>(). plan.cpp makes products with oneDNN, plan_plain.cpp with loops where oneDNN is absent.
class Plans {
 public:
  explicit Plans(Context& ctx);
  ~Plans();

  // Scratch comes from ctx.arena() and is given back. Same bits on every run at the same number of threads.
  void matmul(const Matmul& m);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace uvic::cpu
