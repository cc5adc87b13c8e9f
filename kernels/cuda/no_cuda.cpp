// Stands where the CUDA backend will be: everything links, and any use says what is missing.

#include "kernels/core/memory.h"
#include "kernels/ops/linear.h"

namespace uvic::cuda {
namespace {

[[noreturn]] void absent() { throw Error("this uvic was built without CUDA", "use --device cpu"); }

}  // namespace

void* allocate(int, size_t) { absent(); }
void release(int, void*, size_t) noexcept {}

void linear_forward(Context&, const LinearArgs&, Tensor, Tensor) { absent(); }
void linear_backward(Context&, const LinearArgs&, Tensor, Tensor, Tensor, Tensor, Tensor) { absent(); }
void skip_linear_forward(Context&, const SkipLinearArgs&, Tensor) { absent(); }
void skip_linear_backward(Context&, const SkipLinearArgs&, Tensor, Tensor, Tensor, Tensor, Tensor) { absent(); }

}  // namespace uvic::cuda
