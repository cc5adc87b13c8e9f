#pragma once

#include "kernels/cpu/simd/matmul_amx.h"

// Two products in a row, c = f(a b1) b2, for some panels of a: what lies between them stays in L2. Serial.

namespace uvic::cpu::amx {

// Forward, f is act(sum + bias). Backward it is sum act'(pre): what lies between is the gradient at pre.
struct Chain {
  Packed a;
  Packed b1, b2;               // whole; b2's steps are b1's panels
  const float *bias1, *bias2;  // of all panels of b1 and b2, or null
  Activation act;
  bool backward;
  // Rows of between_stride elements, beginning with a's first. Forward, pre (or null) receives sum + bias; backward it
  // is read and receives act(pre), and gradient receives what lies between.
  bf16 *pre, *gradient;
  int64_t between_stride, between_columns;
  // c = c + bias2 + residual (or null), rows alike.
  bf16* c;
  const bf16* residual;
  int64_t c_stride, c_columns;
  int64_t rows;    // that exist, of a's 32 a panel
  bf16* between;   // scratch, a's panels * steps of b2's longest block * kTiles
  float* sums;     // scratch, kChainSums
  float* outputs;  // scratch, a's panels * b2's panels * kTiles; all aligned to 64 bytes
};
constexpr int64_t kChainSums = 2 * 2 * kBlockSteps * kTiles;

void chain(const Chain& m);

}  // namespace uvic::cpu::amx
