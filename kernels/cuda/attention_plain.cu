#include "kernels/cuda/attention_plain.h"

#include "kernels/cuda/attention_launch.cuh"

namespace uvic::cuda {
namespace {

constexpr int kRows = kThreads / kWarp;  // a block's own rows (or keys), one a warp
constexpr int kWidest = 128, kPerLane = kWidest / kWarp;

struct PlainWarp {
  __device__ static float exp(float x) { return expf(x); }
};

// Rows in shared memory. A lane reads a whole row for a score, so rows begin in different banks.
struct Shared {
  float own_a[kRows][kWidest], own_b[kRows][kWidest];
  float tile_a[kWarp][kWidest + 1], tile_b[kWarp][kWidest + 1];
};

// to[i] = row first + i of a head; zeros behind the last.
template <int kCount, int kStride>
__device__ void load_rows(const AttentionSize& s, const HeadRows<const float>& from, int64_t first,
                          float (&to)[kCount][kStride]) {
  for (int64_t i = threadIdx.x; i < kCount * s.D; i += kThreads) {
    const int64_t r = i / s.D, d = i % s.D;
    to[r][d] = first + r < s.L ? from.data[(first + r) * from.stride + d] : 0.0f;
  }
}

__device__ float dot(const float* a, const float* b, int64_t D) {
  float sum = 0;
  for (int64_t d = 0; d < D; ++d) sum = __fmaf_rn(a[d], b[d], sum);
  return sum;
}

// sum[d] += weight of lane j times row j of tile, over all j; a lane has elements lane, lane + 32, ...
__device__ void add_weighted(float weight, const float (&tile)[kWarp][kWidest + 1], int64_t D, float (&sum)[kPerLane]) {
  const int lane = threadIdx.x % kWarp;
  for (int j = 0; j < kWarp; ++j) {
    const float w = __shfl_sync(~0u, weight, j);
#pragma unroll
    for (int i = 0; i < kPerLane; ++i)
      if (lane + i * kWarp < D) sum[i] = __fmaf_rn(w, tile[j][lane + i * kWarp], sum[i]);
  }
}

__device__ void store_row(const AttentionSize& s, int64_t row, const float (&x)[kPerLane], float factor,
                          const HeadRows<float>& to) {
  const int lane = threadIdx.x % kWarp;
  if (row >= s.L) return;
#pragma unroll
  for (int i = 0; i < kPerLane; ++i)
    if (lane + i * kWarp < s.D) to.data[row * to.stride + lane + i * kWarp] = x[i] * factor;
}

__device__ float warp_max(float x) {
  for (int step = kWarp / 2; step > 0; step /= 2) x = fmaxf(x, __shfl_xor_sync(~0u, x, step));
  return x;
}

struct Place {
  int64_t head, first, row;
};
__device__ Place place(int64_t L) {
  const int64_t tiles = (L + kRows - 1) / kRows, first = blockIdx.x % tiles * kRows;
  return {blockIdx.x / tiles, first, first + threadIdx.x / kWarp};
}

// plain_attention_forward_kernel: a warp a row of q, a lane a key of each step.
template <class Score>
__global__ void __launch_bounds__(kThreads)
    plain_attention_forward_kernel(const __grid_constant__ AttentionTensors<float> t) {
  __shared__ Shared shared;
  const AttentionSize& s = t.size;
  const auto [n, first, row] = place(s.L);
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  load_rows(s, t.part(n, 0), first, shared.own_a);
  float o[kPerLane] = {}, most = -INFINITY, sum = 0;
  const int64_t end = s.causal ? smaller(s.L, first + kRows) : s.L;
  for (int64_t key = 0; key < end; key += kWarp) {
    __syncthreads();
    load_rows(s, t.part(n, 1), key, shared.tile_a);
    load_rows(s, t.part(n, 2), key, shared.tile_b);
    __syncthreads();
    const float z = dot(shared.own_a[warp], shared.tile_a[lane], s.D) * s.scale;
    const bool counts = key + lane < s.L && (!s.causal || key + lane <= row);
    float w = 0;
    if constexpr (Score::kExponential) {
      const float magnitude = Score::template magnitude<Real>(z).v;
      const float largest = fmaxf(most, warp_max(counts ? magnitude : -INFINITY));
      const float factor = expf(most - largest), u = counts ? expf(magnitude - largest) : 0.0f;
      most = largest;
      sum = sum * factor + u;
      for (float& x : o) x *= factor;
      w = Score::template weight<Real>(u, z).v;
    } else {
      if (counts) w = Score::template weight<Real>(z).v;
      sum += w;
    }
    add_weighted(w, shared.tile_b, s.D, o);
  }
  sum = warp_sum(sum);
  store_row(s, row, o, sum > 0 ? 1 / sum : 0.0f, t.output(n));
  if (t.stat && lane == 0 && row < s.L) t.stat[n * s.L + row] = Score::kExponential ? most + logf(sum) : sum;
}

// plain_attention_row_gradient_kernel: a warp a row of dq, a lane a key of each step. Leaves delta for the next kernel.
template <class Score>
__global__ void __launch_bounds__(kThreads)
    plain_attention_row_gradient_kernel(const __grid_constant__ AttentionTensors<float> t) {
  __shared__ Shared shared;
  const AttentionSize& s = t.size;
  const auto [n, first, row] = place(s.L);
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  load_rows(s, t.part(n, 0), first, shared.own_a);
  load_rows(s, t.output_gradient(n), first, shared.own_b);
  __syncthreads();
  float delta = 0, stat = 0;
  if (row < s.L) {
    const float* o = t.output(n).data + row * t.o_stride();
    for (int64_t d = lane; d < s.D; d += kWarp) delta = __fmaf_rn(shared.own_b[warp][d], o[d], delta);
    stat = t.stat[n * s.L + row];
  }
  delta = warp_sum(delta);
  if (lane == 0 && row < s.L) t.delta[n * s.L + row] = delta;
  float dq[kPerLane] = {};
  const int64_t end = s.causal ? smaller(s.L, first + kRows) : s.L;
  for (int64_t key = 0; key < end; key += kWarp) {
    __syncthreads();
    load_rows(s, t.part(n, 1), key, shared.tile_a);
    load_rows(s, t.part(n, 2), key, shared.tile_b);
    __syncthreads();
    float dz = 0;
    if (row < s.L && key + lane < s.L && (!s.causal || key + lane <= row)) {
      const float z = dot(shared.own_a[warp], shared.tile_a[lane], s.D) * s.scale;
      const float g = dot(shared.own_b[warp], shared.tile_b[lane], s.D);
      dz = score_gradient<Score, PlainWarp>(z, g, delta, stat).dz;
    }
    add_weighted(dz, shared.tile_a, s.D, dq);
  }
  store_row(s, row, dq, s.scale, t.gradient(n, 0));
}

// plain_attention_key_gradient_kernel: a warp a key's dk and dv, a lane a row of q of each step.
template <class Score>
__global__ void __launch_bounds__(kThreads)
    plain_attention_key_gradient_kernel(const __grid_constant__ AttentionTensors<float> t) {
  __shared__ Shared shared;
  const AttentionSize& s = t.size;
  const auto [n, first, key] = place(s.L);
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  load_rows(s, t.part(n, 1), first, shared.own_a);
  load_rows(s, t.part(n, 2), first, shared.own_b);
  float dk[kPerLane] = {}, dv[kPerLane] = {};
  for (int64_t start = s.causal ? first : 0; start < s.L; start += kWarp) {
    __syncthreads();
    load_rows(s, t.part(n, 0), start, shared.tile_a);
    load_rows(s, t.output_gradient(n), start, shared.tile_b);
    __syncthreads();
    const int64_t row = start + lane;
    ScoreGradient both{0, 0};
    if (row < s.L && key < s.L && (!s.causal || key <= row)) {
      const float z = dot(shared.own_a[warp], shared.tile_a[lane], s.D) * s.scale;
      const float g = dot(shared.own_b[warp], shared.tile_b[lane], s.D);
      both = score_gradient<Score, PlainWarp>(z, g, t.delta[n * s.L + row], t.stat[n * s.L + row]);
    }
    add_weighted(both.w, shared.tile_b, s.D, dv);
    add_weighted(both.dz, shared.tile_a, s.D, dk);
  }
  store_row(s, key, dk, s.scale, t.gradient(n, 1));
  store_row(s, key, dv, 1.0f, t.gradient(n, 2));
}

unsigned blocks_of(const AttentionTensors<float>& t) {
  return static_cast<unsigned>(t.heads * ((t.size.L + kRows - 1) / kRows));
}

}  // namespace

void plain_attention_forward(Context& ctx, const AttentionArgs& a, Tensor o, Tensor stat) {
  const AttentionTensors<float> t = tensors_of<float>(a, o, stat);
  with_score(a.kind,
             [&](auto score) { launch(ctx, {blocks_of(t)}, plain_attention_forward_kernel<decltype(score)>, t); });
}

void plain_attention_backward(Context& ctx, const AttentionArgs& a, Tensor o, Tensor stat, Tensor grad_o, Tensor dqkv) {
  AttentionTensors<float> t = tensors_of<float>(a, o, stat, grad_o, dqkv);
  t.delta = ctx.like(stat).data<float>();
  with_score(a.kind, [&](auto score) {
    using Score = decltype(score);
    launch(ctx, {blocks_of(t)}, plain_attention_row_gradient_kernel<Score>, t);
    launch(ctx, {blocks_of(t)}, plain_attention_key_gradient_kernel<Score>, t);
  });
}

}  // namespace uvic::cuda
