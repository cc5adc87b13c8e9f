#include "fiber.h"

#include <sys/mman.h>

#include <cstdlib>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

// Saves what a call must keep on the stack that is left, and its top in *from; goes on where `to` was left.
extern "C" void emulated_gpu_switch_stack(void** from, void* to);
asm(R"(
.text
.type emulated_gpu_switch_stack, @function
emulated_gpu_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size emulated_gpu_switch_stack, . - emulated_gpu_switch_stack
)");

namespace emulated_gpu {
namespace {

constexpr size_t kPage = 4096, kStack = 256 << 10, kSaved = 6;  // registers, under the address to go to

Fiber* current = nullptr;
Fiber* left = nullptr;  // by the last switch
void (*first_body)() = nullptr;

void arrived() {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(current->sanitizer, &left->bottom, &left->bytes);
#endif
}

void begin() {
  arrived();
  first_body();
}

}  // namespace

Fiber* new_fiber(void (*body)()) {
  first_body = body;  // the same for all
  void* pages =
      mmap(nullptr, kStack + kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (pages == MAP_FAILED || mprotect(pages, kPage, PROT_NONE) != 0) std::abort();
  char* const bottom = static_cast<char*>(pages) + kPage;
  // A function begins 8 bytes below a multiple of 16.
  void** top = reinterpret_cast<void**>(bottom + kStack) - 2 - kSaved;
  top[kSaved] = reinterpret_cast<void*>(&begin);
  return new Fiber{top, bottom, kStack, nullptr};
}

void switch_fiber(Fiber* from, Fiber* to) {
  left = from;
  current = to;
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(&from->sanitizer, to->bottom, to->bytes);
#endif
  emulated_gpu_switch_stack(&from->top, to->top);
  arrived();
}

Fiber* current_fiber() { return current; }

}  // namespace emulated_gpu
