#pragma once

#include "kernels/core/tensor.h"

namespace uvic {

// Whether no element is infinite or NaN: true for integers. Any dtype of a file, at any alignment; host only.
bool all_finite(Tensor t);

}  // namespace uvic
