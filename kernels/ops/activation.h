#pragma once

#include <cmath>
#include <cstdint>

namespace uvic {

// gelu is the exact erf form, x Phi(x), as the released code has it; not the tanh approximation. quick_gelu, of CLIP's
// published networks, is x sigmoid(1.702 x).
enum class Activation : uint8_t { none, gelu, silu, quick_gelu };
constexpr double kQuickGelu = 1.702;

// The scalar definitions. Backends may use faster forms: in f32 within 1e-6 of these; in bf16 within 4e-4 of a value's
// size or 2e-5, and a derivative within 1e-4, before rounding, which is ten times as coarse.
inline double activate(Activation act, double x) {
  switch (act) {
    case Activation::none: return x;
    case Activation::gelu: return 0.5 * x * (1 + std::erf(x * 0.70710678118654752440));
    case Activation::silu: return x / (1 + std::exp(-x));
    case Activation::quick_gelu: return x / (1 + std::exp(-kQuickGelu * x));
  }
  return x;
}

inline double activation_derivative(Activation act, double x) {
  switch (act) {
    case Activation::none: return 1;
    case Activation::gelu:
      return 0.5 * (1 + std::erf(x * 0.70710678118654752440)) + x * 0.39894228040143267794 * std::exp(-0.5 * x * x);
    case Activation::silu:
    case Activation::quick_gelu: {
      const double z = act == Activation::silu ? x : kQuickGelu * x, s = 1 / (1 + std::exp(-z));
      return s * (1 + z * (1 - s));
    }
  }
  return 1;
}

}  // namespace uvic
