#pragma once

#include <cstddef>

namespace emulated_gpu {

// A stack that can be left and gone back to. All fibers belong to the one thread of the host that emulates GPUs; a
// default one stands for that thread's own stack.
struct Fiber {
  void* top = nullptr;           // of what was saved when it was left
  const void* bottom = nullptr;  // lowest address, and size, for AddressSanitizer
  size_t bytes = 0;
  void* sanitizer = nullptr;
};

// Calls body, which never returns, when it is first switched to. The page below its stack cannot be touched.
Fiber* new_fiber(void (*body)());
// Comes back when another switches to from.
void switch_fiber(Fiber* from, Fiber* to);
Fiber* current_fiber();

}  // namespace emulated_gpu
