#pragma once

#include "kernels/core/context.h"

namespace uvic::cuda {

constexpr size_t kMostByValue = 2048;  // bytes; a kernel's parameters are 4096 in all

// to, on ctx's device, = from, on the host, of at most kMostByValue bytes, which travel as a kernel's parameters: they
// have been read when this returns, and nobody waits.
void upload_by_value(Context& ctx, const Tensor& from, const Tensor& to);

}  // namespace uvic::cuda
