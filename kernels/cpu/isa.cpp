#include <sys/syscall.h>
#include <unistd.h>

#include "kernels/core/context.h"

namespace uvic {
namespace {

// Linux hands out the 8 KB of AMX tile state only to processes that ask (arch_prctl(2), ARCH_REQ_XCOMP_PERM).
bool request_amx() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

bool has_amx_bf16() {
  unsigned a = 7, b = 0, c = 0, d = 0;
  __asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
  return (d >> 22 & 1u) && (d >> 24 & 1u);  // AMX-BF16, AMX-TILE
}

Isa detect() {
  __builtin_cpu_init();
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512cd");
  if (!avx512) return Isa::avx2;
  return has_amx_bf16() && request_amx() ? Isa::amx : Isa::avx512;
}

}  // namespace

Isa best_isa() {
  static const Isa isa = detect();
  return isa;
}

bool has_fast_bf16() {
  __builtin_cpu_init();
  return best_isa() == Isa::amx || (best_isa() == Isa::avx512 && __builtin_cpu_supports("avx512bf16"));
}

}  // namespace uvic
