#include "kernels/core/memory.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>

namespace uvic::cpu {
namespace {

constexpr size_t kPage = size_t{2} << 20;  // large pages: one TLB entry where 512 would be needed

}  // namespace

void* allocate(size_t bytes) {
  // Linux promises memory it does not have and kills the process later; asking first gives an error one can act on.
  UVIC_CHECK(bytes <= available_host_memory(), "out of memory: ", bytes >> 20, " MiB wanted, ",
             available_host_memory() >> 20, " MiB available; a smaller batch needs less");
  void* data = nullptr;
  const size_t align = bytes >= kPage ? kPage : 64;
  UVIC_CHECK(posix_memalign(&data, align, bytes) == 0, "out of memory: ", bytes >> 20, " MiB wanted");
  if (bytes >= kPage) madvise(data, bytes, MADV_HUGEPAGE);
  std::memset(data, 0, bytes);
  return data;
}

void release(void* data, size_t) noexcept { std::free(data); }

}  // namespace uvic::cpu
