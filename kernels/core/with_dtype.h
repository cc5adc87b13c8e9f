#pragma once

#include "kernels/core/tensor.h"

namespace uvic {

// Calls f with a value of dtype's element type, so that a generic lambda is compiled once for each. The ops have
// checked that dtype is one of these.
template <class F>
void with_working(DType dtype, const F& f) {
  dtype == DType::bf16 ? f(bf16{}) : f(0.0f);
}
template <class F>
void with_exact(DType dtype, const F& f) {
  dtype == DType::f64 ? f(0.0) : f(0.0f);
}

}  // namespace uvic
