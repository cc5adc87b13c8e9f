#include "kernels/core/tensor.h"

#include <algorithm>

namespace uvic {

size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::f64:
    case DType::i64: return 8;
    case DType::f32:
    case DType::i32: return 4;
    case DType::bf16:
    case DType::f16: return 2;
    case DType::u8:
    case DType::boolean: return 1;
  }
  return 0;
}

const char* name_of(DType dtype) {
  switch (dtype) {
    case DType::f32: return "f32";
    case DType::bf16: return "bf16";
    case DType::f16: return "f16";
    case DType::f64: return "f64";
    case DType::i64: return "i64";
    case DType::i32: return "i32";
    case DType::u8: return "u8";
    case DType::boolean: return "bool";
  }
  return "?";
}

Shape::Shape(std::initializer_list<int64_t> dims) {
  for (const int64_t d : dims) push_back(d);
}

int64_t Shape::numel() const {
  int64_t n = 1;
  for (const int64_t d : *this) n *= d;
  return n;
}

void Shape::push_back(int64_t dim) {
  UVIC_CHECK(rank_ < kMaxRank, "a shape has at most ", kMaxRank, " dimensions");
  UVIC_CHECK(dim >= 0, "a dimension of ", dim, " in a shape");
  dims_[static_cast<size_t>(rank_++)] = dim;
}

bool Shape::operator==(const Shape& o) const { return std::equal(begin(), end(), o.begin(), o.end()); }

std::string Shape::str() const {
  std::string s = "[";
  for (int i = 0; i < rank_; ++i) s += (i ? ", " : "") + std::to_string((*this)[i]);
  return s + "]";
}

Tensor Tensor::view(Shape shape) const {
  UVIC_CHECK(shape.numel() == numel(), "cannot view a tensor ", shape_, " as ", shape);
  return {data_, dtype_, shape};
}

Tensor Tensor::rows(int64_t begin, int64_t end) const {
  UVIC_CHECK(rank() > 0 && 0 <= begin && begin <= end && end <= dim(0), "rows [", begin, ", ", end, ") of ", shape_);
  Shape shape{end - begin};
  for (int i = 1; i < rank(); ++i) shape.push_back(dim(i));
  const int64_t stride = dim(0) == 0 ? 0 : numel() / dim(0);
  return {static_cast<char*>(data_) + static_cast<size_t>(begin * stride) * size_of(dtype_), dtype_, shape};
}

}  // namespace uvic
