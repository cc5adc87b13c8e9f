#include "kernels/cpu/simd/norm.h"

#include "kernels/cpu/simd/vec.h"

namespace uvic::cpu::UVIC_ISA {
namespace {

// Sixteen lanes without masks, or the int64_t lanes of a row's tail. Loads give 0 in the others.
struct Full {};
template <class T>
UVIC_INLINE F32 load(const T* p, Full) {
  return load(p);
}
template <class T>
UVIC_INLINE void store(T* p, F32 a, Full) {
  store(p, a);
}
UVIC_INLINE F32 keep_part(Full, F32 a) { return a; }
UVIC_INLINE F32 keep_part(int64_t n, F32 a) { return keep(lanes_below(n), a); }

template <class F>
UVIC_INLINE void for_each_part(int64_t C, const F& f) {
  int64_t i = 0;
  for (; i + F32::kLanes <= C; i += F32::kLanes) f(i, Full{});
  if (i < C) f(i, C - i);
}

template <class T>
void forward(const T* x, const T* w, const T* b, float eps, int64_t rows, int64_t C, T* y, float* stats) {
  const float inverse = 1.0f / static_cast<float>(C);
  for (int64_t r = 0; r < rows; ++r, x += C, y += C) {
    F32 total = set(0.0f), squares = set(0.0f);
    for_each_part(C, [&](int64_t i, auto part) { total = total + load(x + i, part); });
    const float mean = sum(total) * inverse;
    // A second pass over the row, which is in the L1 cache: E[x^2] - mean^2 cancels.
    for_each_part(C, [&](int64_t i, auto part) {
      const F32 d = keep_part(part, load(x + i, part) - set(mean));
      squares = fma(d, d, squares);
    });
    const F32 deviation = sqrt(set(sum(squares) * inverse + eps)), scale = set(1.0f) / deviation;
    for_each_part(C, [&](int64_t i, auto part) {
      const F32 xhat = (load(x + i, part) - set(mean)) * scale;
      store(y + i, fma(xhat, load(w + i, part), load(b + i, part)), part);
    });
    if (stats) {
      stats[2 * r] = mean;
      store(stats + 2 * r + 1, scale, 1);
    }
  }
}

// Pass 1 over R rows, which share the loads of w, dw and db: dw and db grow, sums receives each row's mean of dy w and
// of dy w xhat. The order of every sum is that of R = 1.
template <int R, class T>
UVIC_INLINE void backward_sums(const T* x, const T* w, const float* stats, const T* dy, int64_t C, float* dw, float* db,
                               float* sums) {
  F32 s1[R], s2[R];
  for (int r = 0; r < R; ++r) s1[r] = s2[r] = set(0.0f);
  for_each_part(C, [&](int64_t i, auto part) {
    const F32 wi = load(w + i, part);
    F32 dwi = load(dw + i, part), dbi = load(db + i, part);
    for (int r = 0; r < R; ++r) {
      const F32 d = load(dy + r * C + i, part);
      const F32 xhat = (load(x + r * C + i, part) - set(stats[2 * r])) * set(stats[2 * r + 1]);
      const F32 g = d * wi;
      s1[r] = s1[r] + g;
      s2[r] = fma(g, xhat, s2[r]);
      dwi = fma(d, xhat, dwi);
      dbi = dbi + d;
    }
    store(dw + i, dwi, part);
    store(db + i, dbi, part);
  });
  for (int r = 0; r < R; ++r) {
    sums[2 * r] = sum(s1[r]) / static_cast<float>(C);
    sums[2 * r + 1] = sum(s2[r]) / static_cast<float>(C);
  }
}

// Pass 2: dx += (dy w - mean(dy w) - xhat mean(dy w xhat)) / deviation.
template <class T>
UVIC_INLINE void backward_row(const T* x, const T* w, const float* stats, const T* dy, int64_t C, const float* sums,
                              T* dx) {
  const F32 mean = set(stats[0]), scale = set(stats[1]), mean_g = set(sums[0]), mean_gx = set(sums[1]);
  for_each_part(C, [&](int64_t i, auto part) {
    const F32 xhat = (load(x + i, part) - mean) * scale;
    const F32 g = fma(load(dy + i, part), load(w + i, part), -mean_g);
    store(dx + i, fma(fnma(xhat, mean_gx, g), scale, load(dx + i, part)), part);
  });
}

template <class T>
void backward(const T* x, const T* w, const float* stats, const T* dy, int64_t rows, int64_t C, T* dx, float* dw,
              float* db) {
  constexpr int kTogether = 2;  // rows of pass 1: four sums are as many as AVX2 has registers for
  for_each_part(C, [&](int64_t i, auto part) {
    store(dw + i, set(0.0f), part);
    store(db + i, set(0.0f), part);
  });
  for (int64_t r = 0; r < rows; r += kTogether) {
    const int64_t at = r * C, n = rows - r < kTogether ? rows - r : kTogether;
    float sums[2 * kTogether];
    if (n == kTogether) {
      backward_sums<kTogether>(x + at, w, stats + 2 * r, dy + at, C, dw, db, sums);
    } else {
      backward_sums<1>(x + at, w, stats + 2 * r, dy + at, C, dw, db, sums);
    }
    for (int64_t j = 0; j < n; ++j)
      backward_row(x + at + j * C, w, stats + 2 * (r + j), dy + at + j * C, C, sums + 2 * j, dx + at + j * C);
  }
}

}  // namespace

const NormKernels norm_kernels = {forward<float>, forward<bf16>, backward<float>, backward<bf16>};

}  // namespace uvic::cpu::UVIC_ISA
