#pragma once

// What attention's two kernel files share: tensors as the kernels see them, and the choice of an instantiation.

#include "kernels/cuda/attention_device.cuh"
#include "kernels/cuda/attention_passes.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/ops/attention.h"

namespace uvic::cuda {

// Everything a kernel is told; head n is head n % H of image n / H.
template <class T>
struct AttentionTensors {
  AttentionSize size;
  int64_t H, heads;
  const T *qkv, *grad_o;
  T *o, *dqkv;
  float *stat, *delta;  // [B, H, L]; stat may be null in forward

  __device__ int64_t in_qkv(int64_t n, int part) const {
    return (n / H * size.L * 3 + part) * H * size.D + n % H * size.D;
  }
  __device__ int64_t in_o(int64_t n) const { return (n / H * size.L * H + n % H) * size.D; }
  __device__ int64_t qkv_stride() const { return 3 * H * size.D; }
  __device__ int64_t o_stride() const { return H * size.D; }

  __device__ HeadRows<const T> part(int64_t n, int p) const { return {qkv + in_qkv(n, p), qkv_stride()}; }
  __device__ HeadRows<T> gradient(int64_t n, int p) const { return {dqkv + in_qkv(n, p), qkv_stride()}; }
  __device__ HeadRows<const T> output_gradient(int64_t n) const { return {grad_o + in_o(n), o_stride()}; }
  __device__ HeadRows<T> output(int64_t n) const { return {o + in_o(n), o_stride()}; }
};

inline bool on_16_bytes(const Tensor& t) { return t.empty() || reinterpret_cast<uintptr_t>(t.raw()) % 16 == 0; }

template <class T>
AttentionTensors<T> tensors_of(const AttentionArgs& a, Tensor o, Tensor stat, Tensor grad_o = {}, Tensor dqkv = {}) {
  const Shape& s = a.qkv.shape();
  const bool wide = s[4] % 8 == 0 && on_16_bytes(a.qkv) && on_16_bytes(o) && on_16_bytes(grad_o) && on_16_bytes(dqkv);
  return {.size = {s[1], s[4], a.scale, a.causal, wide},
          .H = s[3],
          .heads = s[0] * s[3],
          .qkv = a.qkv.data<T>(),
          .grad_o = grad_o ? grad_o.data<T>() : nullptr,
          .o = o.data<T>(),
          .dqkv = dqkv ? dqkv.data<T>() : nullptr,
          .stat = stat ? stat.data<float>() : nullptr,
          .delta = nullptr};
}

// Calls f with a value of the kind's Score.
template <class F>
void with_score(AttentionKind kind, const F& f) {
  switch (kind) {
    case AttentionKind::softmax: return f(SoftmaxScore{});
    case AttentionKind::cog: return f(CogScore{});
    case AttentionKind::expressive: return f(ExpressiveScore{});
  }
}

// Calls f with the narrowest of kTileWidths that holds D, as a constant.
template <int i = 0, class F>
void with_width(int64_t D, const F& f) {
  if constexpr (i + 1 < static_cast<int>(std::size(kTileWidths))) {
    if (D > kTileWidths[i]) return with_width<i + 1>(D, f);
  }
  f(std::integral_constant<int, kTileWidths[i]>{});
}

// Launches kernel with a block for every kOwn rows of every head. More than 48 KB of shared memory has to be asked for.
template <class Kernel, class T>
void launch_heads(Context& ctx, Kernel* kernel, const AttentionTensors<T>& t, size_t shared) {
  UVIC_CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared)));
  const int64_t tiles = (t.size.L + kOwn - 1) / kOwn;
  launch(ctx, {static_cast<unsigned>(t.heads * tiles), kAttentionThreads, shared}, kernel, t);
}

// The block's head, and its first row.
struct BlockPlace {
  int64_t head, first;
};
__device__ inline BlockPlace block_place(int64_t L) {
  const int64_t tiles = (L + kOwn - 1) / kOwn;
  return {blockIdx.x / tiles, blockIdx.x % tiles * kOwn};
}

}  // namespace uvic::cuda
