#include "kernels/cpu/simd/activation.h"

#include "kernels/cpu/simd/vec.h"

namespace uvic::cpu::UVIC_ISA {
namespace {

struct Identity {
  static F32 value(F32 x) { return x; }
  static F32 derivative(F32) { return set(1.0f); }
};
struct Gelu {
  static F32 value(F32 x) { return gelu(x); }
  static F32 derivative(F32 x) { return gelu_derivative(x); }
};
struct Silu {
  static F32 value(F32 x) { return silu(x); }
  static F32 derivative(F32 x) { return silu_derivative(x); }
};
struct QuickGelu {
  static F32 value(F32 x) { return quick_gelu(x); }
  static F32 derivative(F32 x) { return quick_gelu_derivative(x); }
};

template <class Act, class T>
void forward_as(const float* sums, const T* residual, T* pre, T* y, int64_t n) {
  for (int64_t i = 0; i < n; i += F32::kLanes) {
    const int64_t lanes = n - i < F32::kLanes ? n - i : F32::kLanes;
    const F32 x = load(sums + i, lanes), value = Act::value(x);
    store(pre + i, x, lanes);
    store(y + i, residual ? value + load(residual + i, lanes) : value, lanes);
  }
}

template <class Act, class T>
void apply_as(const T* x, T* y, int64_t n) {
  for (int64_t i = 0; i < n; i += F32::kLanes) {
    const int64_t lanes = n - i < F32::kLanes ? n - i : F32::kLanes;
    store(y + i, Act::value(load(x + i, lanes)), lanes);
  }
}

template <class Act, class T>
void backward_as(const T* pre, const float* sums, T* dpre, int64_t n) {
  int64_t i = 0;
  for (; i + F32::kLanes <= n; i += F32::kLanes) store(dpre + i, load(sums + i) * Act::derivative(load(pre + i)));
  if (i < n) store(dpre + i, load(sums + i, n - i) * Act::derivative(load(pre + i, n - i)), n - i);
}

template <class T>
void forward(Activation act, const float* sums, const T* residual, T* pre, T* y, int64_t n) {
  switch (act) {
    case Activation::none: return forward_as<Identity>(sums, residual, pre, y, n);
    case Activation::gelu: return forward_as<Gelu>(sums, residual, pre, y, n);
    case Activation::silu: return forward_as<Silu>(sums, residual, pre, y, n);
    case Activation::quick_gelu: return forward_as<QuickGelu>(sums, residual, pre, y, n);
  }
}

template <class T>
void apply(Activation act, const T* x, T* y, int64_t n) {
  switch (act) {
    case Activation::none: return apply_as<Identity>(x, y, n);
    case Activation::gelu: return apply_as<Gelu>(x, y, n);
    case Activation::silu: return apply_as<Silu>(x, y, n);
    case Activation::quick_gelu: return apply_as<QuickGelu>(x, y, n);
  }
}

template <class T>
void backward(Activation act, const T* pre, const float* sums, T* dpre, int64_t n) {
  switch (act) {
    case Activation::none: return backward_as<Identity>(pre, sums, dpre, n);
    case Activation::gelu: return backward_as<Gelu>(pre, sums, dpre, n);
    case Activation::silu: return backward_as<Silu>(pre, sums, dpre, n);
    case Activation::quick_gelu: return backward_as<QuickGelu>(pre, sums, dpre, n);
  }
}

// Four vectors a pass: one cache line of bf16 has 32 columns, and four chains of additions hide their latency.
template <class T>
void column_sums(const T* x, int64_t rows, int64_t columns, float* sums) {
  constexpr int64_t kWide = 4 * F32::kLanes;
  int64_t j = 0;
  for (; j + kWide <= columns; j += kWide) {
    F32 s[4] = {set(0.0f), set(0.0f), set(0.0f), set(0.0f)};
    for (int64_t i = 0; i < rows; ++i)
      for (int v = 0; v < 4; ++v) s[v] = s[v] + load(x + i * columns + j + v * F32::kLanes);
    for (int v = 0; v < 4; ++v) store(sums + j + v * F32::kLanes, s[v]);
  }
  for (; j < columns; j += F32::kLanes) {
    const int64_t n = columns - j < F32::kLanes ? columns - j : F32::kLanes;
    F32 s = set(0.0f);
    for (int64_t i = 0; i < rows; ++i) s = s + load(x + i * columns + j, n);
    store(sums + j, s, n);
  }
}

}  // namespace

const ActivationKernels activation_kernels = {{forward<float>, apply<float>, backward<float>, column_sums<float>},
                                              {forward<bf16>, apply<bf16>, backward<bf16>, column_sums<bf16>}};

}  // namespace uvic::cpu::UVIC_ISA
