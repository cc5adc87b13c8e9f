#pragma once

// Argument checks that the ops share. For kernels/ops/*.cpp only: backends receive arguments that have passed.

#include <algorithm>
#include <initializer_list>

#include "kernels/core/context.h"

namespace uvic {

inline bool on_cpu(const Context& ctx) { return ctx.device().kind == DeviceKind::cpu; }

// "layernorm_forward: w is f32 [3], wanted f32 [512]"
inline void check(const char* op, const char* name, const Tensor& t, DType dtype, const Shape& shape) {
  UVIC_CHECK(!t.empty(), op, ": ", name, " is empty, wanted ", dtype, " ", shape);
  UVIC_CHECK(t.dtype() == dtype && t.shape() == shape, op, ": ", name, " is ", t.dtype(), " ", t.shape(), ", wanted ",
             dtype, " ", shape);
}

// For an argument that may be left out.
inline void check_optional(const char* op, const char* name, const Tensor& t, DType dtype, const Shape& shape) {
  if (!t.empty()) check(op, name, t, dtype, shape);
}

// For the argument that decides what the others must be.
inline void check_rank(const char* op, const char* name, const Tensor& t, int rank) {
  UVIC_CHECK(!t.empty(), op, ": ", name, " is empty");
  UVIC_CHECK(t.rank() == rank, op, ": ", name, " is ", t.shape(), ", wanted rank ", rank);
}

inline void check_dtype(const char* op, const char* name, const Tensor& t, std::initializer_list<DType> allowed) {
  if (std::find(allowed.begin(), allowed.end(), t.dtype()) != allowed.end()) return;
  std::string list;
  for (const DType d : allowed) list += std::string(list.empty() ? "" : " or ") + name_of(d);
  fail(op, ": ", name, " is ", t.dtype(), ", wanted ", list);
}

}  // namespace uvic
