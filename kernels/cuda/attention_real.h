#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "kernels/ops/attention_score.h"

namespace uvic::cuda {

// A float with the functions that ops/attention_score.h asks for.
struct Real {
  float v;
  UVIC_HD Real(float x) : v(x) {}

  UVIC_HD friend Real operator+(Real a, Real b) { return a.v + b.v; }
  UVIC_HD friend Real operator-(Real a, Real b) { return a.v - b.v; }
  UVIC_HD friend Real operator*(Real a, Real b) { return a.v * b.v; }
  UVIC_HD friend Real operator/(Real a, Real b) { return a.v / b.v; }
  UVIC_HD friend Real abs(Real a) { return fabsf(a.v); }
  UVIC_HD friend Real min(Real a, Real b) { return b.v < a.v ? b.v : a.v; }
  UVIC_HD friend Real times_sign(Real x, Real z) { return z.v > 0 ? x.v : z.v < 0 ? -x.v : 0.0f; }
  UVIC_HD friend Real flip(Real x, Real z) { return std::bit_cast<uint32_t>(z.v) >> 31 ? -x.v : x.v; }
};

// Weight and dL/dz of a score z in backward, from g = dO . v, delta = rowsum(dO . O) and what forward saved of the row.
// W::exp is how the caller takes exponentials.
struct ScoreGradient {
  float w, dz;
};
template <class Score, class W>
UVIC_HD inline ScoreGradient score_gradient(float z, float g, float delta, float stat) {
  if constexpr (Score::kExponential) {
    const Real w = Score::template weight<Real>(W::exp(Score::template magnitude<Real>(z).v - stat), z);
    return {w.v, Score::template gradient<Real>(w, g, delta).v};
  } else {
    const float inverse = stat > 0 ? 1 / stat : 0.0f;
    return {Score::template weight<Real>(z).v * inverse,
            Score::template gradient<Real>(z, g * inverse, delta * inverse).v};
  }
}

}  // namespace uvic::cuda
