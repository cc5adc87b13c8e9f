#pragma once

#include <cstdint>

#include "kernels/core/host_device.h"

namespace uvic {

enum class AttentionKind : uint8_t { softmax, cog, expressive };

inline const char* name_of(AttentionKind kind) {
  return kind == AttentionKind::softmax ? "softmax" : kind == AttentionKind::cog ? "cog" : "expressive";
}

// What a kind is, for the loops of every backend: each is written once, over one of these. T is float, or a vector of
// floats with the same functions: abs, min, times_sign(x, z) = x sign(z) with sign(0) = 0, and flip(x, z), which is -x
// where z has its sign bit set.
//
// Exponential kinds: row maximum m of magnitude(z), u = exp(magnitude(z) - m), weight(u, z), divided by sum u.
// The others: weight(z), divided by its sum (0 where the sum is 0). In backward, with g = dO v^T and delta = rowsum(dO
// . O), both already divided by the row's sum, dL/dz = gradient(w, g, delta) from the undivided weight w, or from z.
struct SoftmaxScore {
  static constexpr AttentionKind kKind = AttentionKind::softmax;
  static constexpr bool kExponential = true;
  template <class T>
  UVIC_HD static T magnitude(T z) {
    return z;
  }
  template <class T>
  UVIC_HD static T weight(T u, T) {
    return u;
  }
  template <class T>
  UVIC_HD static T gradient(T w, T g, T delta) {
    return w * (g - delta);
  }
};

// w = sign(z) u, so u (g - sign(z) delta) = w (sign(w) g - delta): z itself is not needed. A score of 0 has w = 0, and
// takes its part of sum u all the same.
struct CogScore {
  static constexpr AttentionKind kKind = AttentionKind::cog;
  static constexpr bool kExponential = true;
  template <class T>
  UVIC_HD static T magnitude(T z) {
    return abs(z);
  }
  template <class T>
  UVIC_HD static T weight(T u, T z) {
    return times_sign(u, z);
  }
  template <class T>
  UVIC_HD static T gradient(T w, T g, T delta) {
    return w * (flip(g, w) - delta);
  }
};

// f(z) = z^2 / (1 + z^2), f'(z) = 2 z / (1 + z^2)^2. The square is kept finite: inf / inf would be NaN.
struct ExpressiveScore {
  static constexpr AttentionKind kKind = AttentionKind::expressive;
  static constexpr bool kExponential = false;
  template <class T>
  UVIC_HD static T weight(T z) {
    const T square = min(z * z, 1e38f);
    return square / (square + 1.0f);
  }
  template <class T>
  UVIC_HD static T gradient(T z, T g, T delta) {
    const T one_plus = min(z * z, 1e38f) + 1.0f;
    return (g - delta) * ((z + z) / one_plus) / one_plus;
  }
};

}  // namespace uvic
