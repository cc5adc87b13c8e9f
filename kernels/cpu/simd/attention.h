#pragma once

#include <cstdint>

namespace uvic::cpu {

// One head of one image: [L, D] matrices of T (float or bf16) inside larger tensors, rows stride elements apart. Only
// what a pass reads or writes need be set.
struct AttentionHead {
  int64_t L = 0, D = 0;
  int64_t qkv_stride = 0;  // of q, k, v, dq, dk, dv
  int64_t o_stride = 0;    // of o, grad_o
  float scale = 1;
  bool causal = false;
  const void *q = nullptr, *k = nullptr, *v = nullptr;
  void* o = nullptr;
  float* stat = nullptr;  // [L], may be null in forward
  const void* grad_o = nullptr;
  void *dq = nullptr, *dk = nullptr, *dv = nullptr;
};

// Serial kernels. Scratch is aligned to 64 bytes, its contents need not be kept between calls.
struct AttentionPasses {
  void (*forward)(const AttentionHead& head, int64_t row_begin, int64_t row_end, void* scratch);
  void (*backward)(const AttentionHead& head, void* scratch);
};
struct AttentionKernels {
  int64_t block_rows;  // forward is best called with multiples of this many rows
  int64_t (*forward_bytes)(int64_t L, int64_t D);
  int64_t (*backward_bytes)(int64_t L, int64_t D);
  AttentionPasses f32[3], bf16[3];  // by AttentionKind
};

namespace avx2 {
extern const AttentionKernels attention_kernels;
}
namespace avx512 {
extern const AttentionKernels attention_kernels;
}
namespace amx {
extern const AttentionKernels attention_kernels;  // bf16 only
}

}  // namespace uvic::cpu
