#pragma once

#include "kernels/core/context.h"
#include "kernels/ops/activation.h"

namespace uvic::cpu {

// A view of a matrix: element (i, j) is data[i * row_stride + j * column_stride], and one of the strides is 1.
struct Matrix {
  void* data = nullptr;
  DType dtype = DType::f32;
  int64_t rows = 0, columns = 0, row_stride = 0, column_stride = 1;

  explicit operator bool() const { return data != nullptr; }
  Matrix transposed() const { return {data, dtype, columns, rows, column_stride, row_stride}; }
  Matrix column_range(int64_t begin, int64_t end) const {
    char* at = static_cast<char*>(data) + static_cast<size_t>(begin * column_stride) * size_of(dtype);
    return {at, dtype, rows, end - begin, row_stride, column_stride};
  }
  Matrix row_range(int64_t begin, int64_t end) const { return transposed().column_range(begin, end).transposed(); }
};
// t [rows, columns]; an empty tensor gives a matrix without data: "none" below.
inline Matrix matrix(const Tensor& t) {
  return t ? Matrix{t.raw(), t.dtype(), t.dim(0), t.dim(1), t.dim(1), 1} : Matrix{};
}

// pre = a b + a2 b2 + bias and c = act(pre) + residual; or c = (a b) act'(pre); or c += a b. Sums in f32,
// rounded once. c, pre and residual have contiguous rows; none of them may be an operand.
struct Matmul {
  Matrix a = {}, b = {}, c = {};  // [R, S], [S, C] and [R, C] of one dtype, f32 or bf16
  Matrix a2 = {}, b2 = {};        // [R, S2], [S2, C], if there is neither residual nor pre; none: one product
  const void* bias = nullptr;     // [C], dtype of a; may be null
  Activation act = Activation::none;
  Matrix residual = {}, pre = {};  // [R, C], dtype of a; may be none
  bool backward = false;           // c = (a b) act'(pre): pre is read, and there is nothing else
  Tensor packed_b = {};            // b and b2 by prepack, or empty
  bool accumulate = false;         // c += a b: c is f32, also for bf16, and there is nothing else
};

// By AMX tiles where ctx has them and the operands are bf16, else by Plans. Scratch comes from ctx.arena() and is given
// back. The same bits on every run with the same number of threads; by AMX, with any number.
void matmul(Context& ctx, const Matmul& m);

}  // namespace uvic::cpu
