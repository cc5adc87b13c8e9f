#pragma once

// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) and normals from it that have
// the same bits on every device: only integer operations and IEEE add, multiply, fma and square root are used, each
// spelled out so that no compiler may contract or reorder them.

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>

#include "kernels/core/host_device.h"

namespace uvic {

// What the numbers are for. Part of the file format of a run: never renumber.
enum class Stream : uint32_t {
  initial_noise = 0,
  solver_noise = 1,
  training_noise = 2,
  training_time = 3,
  crop_flip = 4,
  label_drop = 5,
  latent_posterior = 6,
  shuffling = 7,
  initial_weights = 8,
};

// Names one sequence of numbers. Block i of it holds elements 4i .. 4i+3.
struct RandomKey {
  uint64_t seed = 0;  // the image's seed when sampling, the run's when training
  uint32_t draw = 0;  // solver step, or training step
  Stream stream = Stream::initial_noise;
  uint32_t index = 0;  // global sample index when training, 0 when sampling
};

struct Random4 {
  uint32_t v[4];
};
struct Normal4 {
  float v[4];
};

namespace detail {
#ifdef __CUDA_ARCH__
__device__ inline float mul(float a, float b) { return __fmul_rn(a, b); }
__device__ inline float fma(float a, float b, float c) { return __fmaf_rn(a, b, c); }
__device__ inline float root(float a) { return __fsqrt_rn(a); }
#else
inline float mul(float a, float b) { return a * b; }
inline float fma(float a, float b, float c) { return std::fma(a, b, c); }
inline float root(float a) { return std::sqrt(a); }
#endif
}  // namespace detail

UVIC_HD inline Random4 philox(const RandomKey& key, uint32_t block) {
  uint32_t c0 = block, c1 = key.draw, c2 = static_cast<uint32_t>(key.stream), c3 = key.index;
  uint32_t k0 = static_cast<uint32_t>(key.seed), k1 = static_cast<uint32_t>(key.seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53u} * c0, b = uint64_t{0xCD9E8D57u} * c2;
    c0 = static_cast<uint32_t>(b >> 32) ^ c1 ^ k0;
    c1 = static_cast<uint32_t>(b);
    c2 = static_cast<uint32_t>(a >> 32) ^ c3 ^ k1;
    c3 = static_cast<uint32_t>(a);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// [0, 1) with 24 random bits.
UVIC_HD inline float uniform(uint32_t r) { return detail::mul(static_cast<float>(r >> 8), 0x1p-24f); }

namespace detail {

// ln(u) for u in (0, 1], 1 ulp or so: u = m 2^e with m in [sqrt(1/2), sqrt(2)), and a polynomial in m - 1.
UVIC_HD inline float log_unit(float u) {
  uint32_t bits = std::bit_cast<uint32_t>(u);
  const uint32_t shifted = bits - 0x3f3504f3u;  // sqrt(1/2)
  const float e = static_cast<float>(static_cast<int32_t>(shifted) >> 23);
  bits = (shifted & 0x007fffffu) + 0x3f3504f3u;
  const float f = fma(std::bit_cast<float>(bits), 1.0f, -1.0f);
  float y = 7.0376836292e-2f;
  y = fma(y, f, -1.1514610310e-1f);
  y = fma(y, f, 1.1676998740e-1f);
  y = fma(y, f, -1.2420140846e-1f);
  y = fma(y, f, 1.4249322787e-1f);
  y = fma(y, f, -1.6668057665e-1f);
  y = fma(y, f, 2.0000714765e-1f);
  y = fma(y, f, -2.4999993993e-1f);
  y = fma(y, f, 3.3333331174e-1f);
  const float z = mul(f, f);
  y = mul(mul(y, f), z);
  y = fma(e, -2.12194440e-4f, y);
  y = fma(z, -0.5f, y);
  y = fma(f, 1.0f, y);
  return fma(e, 0.693359375f, y);
}

// One Box-Muller pair: radius from the first word, angle from the second.
UVIC_HD inline void normal_pair(uint32_t a, uint32_t b, float* out) {
  const float u = fma(static_cast<float>(a), 0x1p-32f, 0x1p-33f);  // (0, 1]
  const float radius = root(mul(-2.0f, log_unit(u)));
  const uint32_t quadrant = (b + 0x20000000u) >> 30;  // nearest multiple of a quarter turn, mod 4
  const float x = mul(static_cast<float>(static_cast<int32_t>(b - (quadrant << 30))), 1.46291807926715968e-9f);
  const float z = mul(x, x);  // x = 2 pi b / 2^32 within +-pi/4
  float s = fma(z, -1.9515295891e-4f, 8.3321608736e-3f);
  s = fma(s, z, -1.6666654611e-1f);
  s = fma(mul(s, z), x, x);
  float c = fma(z, 2.443315711809948e-5f, -1.388731625493765e-3f);
  c = fma(c, z, 4.166664568298827e-2f);
  c = fma(mul(c, z), z, fma(z, -0.5f, 1.0f));
  const bool swapped = quadrant & 1u;
  const float cos_part = swapped ? s : c, sin_part = swapped ? c : s;
  out[0] = mul(radius, (quadrant == 1u || quadrant == 2u) ? -cos_part : cos_part);
  out[1] = mul(radius, (quadrant >= 2u) ? -sin_part : sin_part);
}

}  // namespace detail

UVIC_HD inline Normal4 normal(Random4 r) {
  Normal4 n;
  detail::normal_pair(r.v[0], r.v[1], n.v);
  detail::normal_pair(r.v[2], r.v[3], n.v + 2);
  return n;
}

}  // namespace uvic
