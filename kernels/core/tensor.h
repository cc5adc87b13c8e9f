#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <ostream>
#include <string>

#include "kernels/core/error.h"
#include "kernels/core/host_device.h"

namespace uvic {

enum class DType : uint8_t { f32, bf16, f16, f64, i64, i32, u8, boolean };

size_t size_of(DType dtype);       // bytes of one element
const char* name_of(DType dtype);  // "f32", "bf16", ...
inline std::ostream& operator<<(std::ostream& s, DType d) { return s << name_of(d); }

// bfloat16: the upper half of an IEEE float. Storage only; arithmetic is done in float.
struct bf16 {
  uint16_t bits;
};

UVIC_HD inline float to_float(float x) { return x; }
UVIC_HD inline float to_float(bf16 x) {
  const uint32_t u = uint32_t{x.bits} << 16;
  float f;
  std::memcpy(&f, &u, sizeof f);
  return f;
}

// Round to nearest even; a NaN stays a (quiet) NaN.
UVIC_HD inline bf16 to_bf16(float x) {
  uint32_t u;
  std::memcpy(&u, &x, sizeof u);
  if ((u & 0x7fffffffu) > 0x7f800000u) return {static_cast<uint16_t>((u >> 16) | 0x40u)};
  return {static_cast<uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16)};
}

template <class T>
UVIC_HD T from_float(float x) {
  if constexpr (sizeof(T) == 2) {
    return to_bf16(x);
  } else {
    return x;
  }
}

template <class T>
constexpr DType dtype_of();
template <>
constexpr DType dtype_of<float>() {
  return DType::f32;
}
template <>
constexpr DType dtype_of<bf16>() {
  return DType::bf16;
}
template <>
constexpr DType dtype_of<double>() {
  return DType::f64;
}
template <>
constexpr DType dtype_of<int64_t>() {
  return DType::i64;
}
template <>
constexpr DType dtype_of<int32_t>() {
  return DType::i32;
}
template <>
constexpr DType dtype_of<uint8_t>() {
  return DType::u8;
}

// Up to six extents, outermost first. A default Shape has rank 0 and one element (a scalar).
class Shape {
 public:
  static constexpr int kMaxRank = 6;

  Shape() = default;
  Shape(std::initializer_list<int64_t> dims);
  template <class It>
  Shape(It first, It last) {
    for (; first != last; ++first) push_back(*first);
  }

  int rank() const { return rank_; }
  int64_t operator[](int i) const { return dims_[static_cast<size_t>(i < 0 ? i + rank_ : i)]; }
  int64_t numel() const;
  void push_back(int64_t dim);
  const int64_t* begin() const { return dims_.data(); }
  const int64_t* end() const { return dims_.data() + rank_; }
  bool operator==(const Shape& o) const;
  std::string str() const;  // "[8, 257, 512]"

 private:
  std::array<int64_t, kMaxRank> dims_{};
  int rank_ = 0;
};

inline std::ostream& operator<<(std::ostream& s, const Shape& shape) { return s << shape.str(); }

// A view of contiguous, row-major elements. It never owns its memory: a ParamStore, the arena or a Buffer does.
// Like a span, a const Tensor still gives access to mutable elements; contracts say who writes what.
// A default Tensor is empty: the way to say "not wanted" for an optional argument.
class Tensor {
 public:
  Tensor() = default;
  Tensor(void* data, DType dtype, Shape shape) : data_(data), shape_(shape), dtype_(dtype) {}

  bool empty() const { return data_ == nullptr; }
  explicit operator bool() const { return data_ != nullptr; }
  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  int rank() const { return shape_.rank(); }
  int64_t dim(int i) const { return shape_[i]; }  // negative counts from the end
  int64_t numel() const { return shape_.numel(); }
  size_t bytes() const { return static_cast<size_t>(numel()) * size_of(dtype_); }
  void* raw() const { return data_; }

  // Typed pointer; throws if T is not the tensor's dtype.
  template <class T>
  T* data() const {
    UVIC_CHECK(dtype_ == dtype_of<T>(), "tensor ", shape_, " is ", dtype_, ", not ", dtype_of<T>());
    return static_cast<T*>(data_);
  }

  Tensor view(Shape shape) const;                 // same elements, another shape
  Tensor rows(int64_t begin, int64_t end) const;  // [begin, end) of the outermost dimension

 private:
  void* data_ = nullptr;
  Shape shape_;
  DType dtype_ = DType::f32;
};

}  // namespace uvic
