// Stands where the CUDA backend will be: everything links, and any use says what is missing.

#include "kernels/core/memory.h"

namespace uvic::cuda {
namespace {

[[noreturn]] void absent() { throw Error("this uvic was built without CUDA", "use --device cpu"); }

}  // namespace

void* allocate(int, size_t) { absent(); }
void release(int, void*, size_t) noexcept {}

}  // namespace uvic::cuda
