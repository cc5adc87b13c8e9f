#pragma once

// The instructions that C++ has no word for, and the only inline assembly. tests/emulated_gpu has a file of this name
// that plays them on the host.

#include "kernels/core/tensor.h"

namespace uvic::cuda {

// ldmatrix.x4: four 8 x 8 matrices of bf16 in shared memory. Lane 8 i + r gives the address of row r of matrix i, a
// multiple of 16 bytes. Lane l receives from matrix i, in to[i], the pair (row l / 4, columns 2 (l % 4) and the next),
// the lower half first; of the transposed matrix if asked.
template <bool transposed>
__device__ inline void load_matrices(uint32_t (&to)[4], const bf16* row) {
  const auto at = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  if constexpr (transposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(at)
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(at)
                 : "memory");
  }
}

// cp.async: begins to copy 16 bytes to shared memory, or zeros if they do not exist; from is global memory in any case,
// both are multiples of 16 bytes. No register holds them meanwhile. They are there, for this thread, after
// wait_for_copies(); for the others of the block, after a barrier behind that.
__device__ inline void begin_copy_16(const void* from, void* to, bool exist) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
               :
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(to))), "l"(from), "r"(exist ? 16 : 0)
               : "memory");
}
__device__ inline void wait_for_copies() { asm volatile("cp.async.wait_all;" : : : "memory"); }

// mma.m16n8k16: c [16, 8] += a [16, 16] b [16, 8], in the PTX manual's fragments (section "Matrix Fragments for
// mma.m16n8k16 with floating point type").
__device__ inline void multiply_matrices(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// A pair of bf16, rounded to nearest even; low in the lower half.
__device__ inline uint32_t pack_pair(float low, float high) {
  uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}

}  // namespace uvic::cuda
