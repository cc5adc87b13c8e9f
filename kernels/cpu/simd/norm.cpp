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

// R rows at once: one row alone would wait for its own sums, four cycles an addition.
template <int R, class T>
UVIC_INLINE void forward_rows(const T* x, const T* w, const T* b, float eps, int64_t C, T* y, float* stats) {
  const float inverse = 1.0f / static_cast<float>(C);
  F32 total[R], squares[R], mean[R], scale[R];
  for (int r = 0; r < R; ++r) total[r] = squares[r] = set(0.0f);
  for_each_part(C, [&](int64_t i, auto part) {
    for (int r = 0; r < R; ++r) total[r] = total[r] + load(x + r * C + i, part);
  });
  for (int r = 0; r < R; ++r) mean[r] = set(sum(total[r]) * inverse);
  // A second pass over the rows, which are in the L1 cache: E[x^2] - mean^2 cancels.
  for_each_part(C, [&](int64_t i, auto part) {
    for (int r = 0; r < R; ++r) {
      const F32 d = keep_part(part, load(x + r * C + i, part) - mean[r]);
      squares[r] = fma(d, d, squares[r]);
    }
  });
  for (int r = 0; r < R; ++r) scale[r] = set(1.0f) / sqrt(set(sum(squares[r]) * inverse + eps));
  for_each_part(C, [&](int64_t i, auto part) {
    const F32 wi = load(w + i, part), bi = load(b + i, part);
    for (int r = 0; r < R; ++r) {
      const F32 xhat = (load(x + r * C + i, part) - mean[r]) * scale[r];
      store(y + r * C + i, fma(xhat, wi, bi), part);
    }
  });
  if (!stats) return;
  for (int r = 0; r < R; ++r) {
    store(stats + 2 * r, mean[r], 1);
    store(stats + 2 * r + 1, scale[r], 1);
  }
}

template <class T>
void forward(const T* x, const T* w, const T* b, float eps, int64_t rows, int64_t C, T* y, float* stats) {
  constexpr int kTogether = 4;
  int64_t r = 0;
  for (; r + kTogether <= rows; r += kTogether)
    forward_rows<kTogether>(x + r * C, w, b, eps, C, y + r * C, stats ? stats + 2 * r : nullptr);
  for (; r < rows; ++r) forward_rows<1>(x + r * C, w, b, eps, C, y + r * C, stats ? stats + 2 * r : nullptr);
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
template <int R, class T>
UVIC_INLINE void backward_rows(const T* x, const T* w, const float* stats, const T* dy, int64_t C, const float* sums,
                               T* dx) {
  for_each_part(C, [&](int64_t i, auto part) {
    const F32 wi = load(w + i, part);
    for (int r = 0; r < R; ++r) {
      const F32 scale = set(stats[2 * r + 1]);
      const F32 xhat = (load(x + r * C + i, part) - set(stats[2 * r])) * scale;
      const F32 g = fma(load(dy + r * C + i, part), wi, set(-sums[2 * r]));
      store(dx + r * C + i, fma(fnma(xhat, set(sums[2 * r + 1]), g), scale, load(dx + r * C + i, part)), part);
    }
  });
}

template <int R, class T>
UVIC_INLINE void backward_both(const T* x, const T* w, const float* stats, const T* dy, int64_t C, T* dx, float* dw,
                               float* db) {
  float sums[2 * R];
  backward_sums<R>(x, w, stats, dy, C, dw, db, sums);
  backward_rows<R>(x, w, stats, dy, C, sums, dx);
}

template <class T>
void backward(const T* x, const T* w, const float* stats, const T* dy, int64_t rows, int64_t C, T* dx, float* dw,
              float* db) {
  constexpr int kTogether = 2;  // four sums are as many as AVX2 has registers for
  for_each_part(C, [&](int64_t i, auto part) {
    store(dw + i, set(0.0f), part);
    store(db + i, set(0.0f), part);
  });
  int64_t r = 0;
  for (; r + kTogether <= rows; r += kTogether)
    backward_both<kTogether>(x + r * C, w, stats + 2 * r, dy + r * C, C, dx + r * C, dw, db);
  for (; r < rows; ++r) backward_both<1>(x + r * C, w, stats + 2 * r, dy + r * C, C, dx + r * C, dw, db);
}

}  // namespace

const NormKernels norm_kernels = {forward<float>, forward<bf16>, backward<float>, backward<bf16>};

}  // namespace uvic::cpu::UVIC_ISA
