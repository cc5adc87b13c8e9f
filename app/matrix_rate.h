#pragma once

#include "kernels/core/context.h"

namespace uvic {

// What ctx's device gives at best to a network in dtype: floating-point operations a second (a multiply-add is two) of
// our linear op at growing sizes, the best of some 0.1 s. Measured with ctx's threads in memory of its own, so that
// ctx's arena stays as it is. A busy machine lowers it.
double matrix_rate(const Context& ctx, DType dtype);

}  // namespace uvic
