#pragma once

#include "kernels/core/context.h"

namespace uvic::cuda {

// A view of a row-major matrix whose rows lie stride elements apart; transposed says that it is read with its
// dimensions exchanged: rows and columns are those after that.
struct Matrix {
  void* data = nullptr;
  DType dtype = DType::f32;
  int64_t rows = 0, columns = 0, stride = 0;
  bool is_transposed = false;

  explicit operator bool() const { return data != nullptr; }
  Matrix transposed() const { return {data, dtype, columns, rows, stride, !is_transposed}; }
  // Columns [begin, end) of a matrix that is not transposed.
  Matrix column_range(int64_t begin, int64_t end) const {
    char* at = static_cast<char*>(data) + static_cast<size_t>(begin) * size_of(dtype);
    return {at, dtype, rows, end - begin, stride, false};
  }
};
// t [rows, columns]; an empty tensor gives a matrix without data.
inline Matrix matrix(const Tensor& t) {
  return t ? Matrix{t.raw(), t.dtype(), t.dim(0), t.dim(1), t.dim(1), false} : Matrix{};
}

// c = a b + bias + added, by cuBLASLt. a [R, S] and b [S, C] share one dtype, f32 or bf16; c [R, C] is of that dtype or
// f32, and added, which may be c itself, of c's. Sums in f32 (no TF32), rounded once.
struct Product {
  Matrix a = {}, b = {}, c = {};
  const void* bias = nullptr;  // [C], dtype of c; may be null
  Matrix added = {};           // [R, C]; may be none
};
// The same bits on every run: the algorithm is the library's first choice for the shape, found once and kept; or the
// fastest of its choices where ctx.timed_plans() is given.
void product(Context& ctx, const Product& p);

}  // namespace uvic::cuda
