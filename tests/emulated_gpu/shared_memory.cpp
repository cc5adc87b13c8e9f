#include "shared_memory.h"

#include <link.h>

#include <cstring>

#include "device_functions.h"

namespace {

constexpr size_t kBehind = 4096;  // bytes watched behind a kernel's share

}  // namespace

// Declared in kernels/cuda/launch.cuh.
namespace uvic::cuda {
thread_local uint4 dynamic_shared[(emulated_gpu::kMaxShared + kBehind) / sizeof(uint4)];
}

namespace emulated_gpu {
namespace {

struct Range {
  char *begin, *end;
};

// The program's thread_local variables, as this thread has them.
Range thread_local_memory() {
  Range all{};
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* to) {
        for (int i = 0; i < info->dlpi_phnum; ++i)
          if (info->dlpi_phdr[i].p_type == PT_TLS) {
            char* const data = static_cast<char*>(info->dlpi_tls_data);
            *static_cast<Range*>(to) = {data, data + info->dlpi_phdr[i].p_memsz};
          }
        return 1;  // the program itself comes first
      },
      &all);
  return all;
}

}  // namespace

// Whatever else is thread_local in the program is overwritten, too: kernels use none of it.
void fill_shared_memory(size_t dynamic) {
  const Range all = thread_local_memory();
  char* const own = reinterpret_cast<char*>(uvic::cuda::dynamic_shared);
  char* const behind = own + sizeof uvic::cuda::dynamic_shared;
  std::memset(all.begin, 0xff, static_cast<size_t>(own - all.begin));
  std::memset(own, 0xff, dynamic + kBehind);
  std::memset(behind, 0xff, static_cast<size_t>(all.end - behind));
}

void check_shared_memory(size_t dynamic) {
  const auto* const own = reinterpret_cast<const unsigned char*>(uvic::cuda::dynamic_shared);
  for (size_t i = dynamic; i < dynamic + kBehind; ++i)
    if (own[i] != 0xff) stop("wrote byte %zu of %zu bytes of dynamic shared memory", i, dynamic);
}

}  // namespace emulated_gpu
