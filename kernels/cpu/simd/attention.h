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

// Serial kernels, by AttentionKind. bytes of scratch, aligned to 64; its contents need not be kept between calls.
struct AttentionForward {
  using Pass = void(const AttentionHead& head, int64_t row_begin, int64_t row_end, void* scratch);
  int64_t block_rows;  // best called with multiples of this many rows
  int64_t (*bytes)(int64_t L, int64_t D);
  Pass *f32[3], *bf16[3];
};
struct AttentionBackward {
  using Pass = void(const AttentionHead& head, void* scratch);
  int64_t (*bytes)(int64_t L, int64_t D);
  Pass *f32[3], *bf16[3];
};

namespace avx2 {
extern const AttentionForward attention_forward;
extern const AttentionBackward attention_backward;
}  // namespace avx2
namespace avx512 {
extern const AttentionForward attention_forward;
extern const AttentionBackward attention_backward;
}  // namespace avx512
namespace amx {  // bf16 only
extern const AttentionForward attention_forward;
extern const AttentionBackward attention_backward;
}  // namespace amx

}  // namespace uvic::cpu
