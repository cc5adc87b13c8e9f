#pragma once

// kernels/cuda/ptx.cuh on the emulated GPU, from the PTX manual's words and none of the kernels' address arithmetic.

#include "device_functions.h"
#include "kernels/core/tensor.h"

namespace uvic::cuda {

template <bool transposed>
void load_matrices(uint32_t (&to)[4], const bf16* row) {
  struct Own {
    const bf16* row;
    uint32_t* to;
  } own{row, to};
  if (reinterpret_cast<uintptr_t>(row) % 16 != 0) emulated_gpu::stop("ldmatrix at %p, not a multiple of 16 bytes", row);
  emulated_gpu::meet_warp(transposed ? "ldmatrix.trans" : "ldmatrix", ~0u, &own, [](const emulated_gpu::Lanes& lanes) {
    const auto lane = [&](int l) -> Own& { return *static_cast<Own*>(lanes.data[static_cast<size_t>(l)]); };
    const auto element = [&](int matrix, int r, int c) {
      return uint32_t{lane(8 * matrix + (transposed ? c : r)).row[transposed ? r : c].bits};
    };
    for (int l = 0; l < 32; ++l)
      for (int i = 0; i < 4; ++i) lane(l).to[i] = element(i, l / 4, l % 4 * 2) | element(i, l / 4, l % 4 * 2 + 1) << 16;
  });
}

// Copies are done when their thread waits for them, and not before.
inline void begin_copy_16(const void* from, void* to, bool exist) {
  for (const void* p : {from, static_cast<const void*>(to)})
    if (reinterpret_cast<uintptr_t>(p) % 16 != 0) emulated_gpu::stop("cp.async at %p, not a multiple of 16 bytes", p);
  emulated_gpu::begin_copy(exist ? from : nullptr, to, 16);
}
inline void wait_for_copies() { emulated_gpu::finish_copies(); }

inline void multiply_matrices(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  struct Own {
    float* c;
    const uint32_t* a;
    uint32_t b[2];
  } own{c, a, {b0, b1}};
  emulated_gpu::meet_warp("mma", ~0u, &own, [](const emulated_gpu::Lanes& lanes) {
    const auto part = [](uint32_t pair, int i) { return to_float(bf16{static_cast<uint16_t>(pair >> (16 * i))}); };
    float left[16][16], right[16][8];
    for (int l = 0; l < 32; ++l) {
      const Own& lane = *static_cast<const Own*>(lanes.data[static_cast<size_t>(l)]);
      const int group = l >> 2, member = l % 4;
      for (int i = 0; i < 8; ++i) {  // a_i: 8 rows down for i in 2, 3, 6, 7; 8 columns to the right for i >= 4
        const int row = i < 2 || (i >= 4 && i < 6) ? group : group + 8;
        left[row][member * 2 + (i & 1) + (i >= 4 ? 8 : 0)] = part(lane.a[i / 2], i & 1);
      }
      for (int i = 0; i < 4; ++i) right[member * 2 + (i & 1) + (i >= 2 ? 8 : 0)][group] = part(lane.b[i / 2], i & 1);
    }
    for (int l = 0; l < 32; ++l)
      for (int i = 0; i < 4; ++i) {
        const int row = i < 2 ? l >> 2 : (l >> 2) + 8, column = l % 4 * 2 + (i & 1);
        float& sum = static_cast<const Own*>(lanes.data[static_cast<size_t>(l)])->c[i];
        for (int k = 0; k < 16; ++k) sum += left[row][k] * right[k][column];
      }
  });
}

inline uint32_t pack_pair(float low, float high) { return to_bf16(low).bits | uint32_t{to_bf16(high).bits} << 16; }

}  // namespace uvic::cuda
