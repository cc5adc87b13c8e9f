#pragma once

#include "kernels/core/tensor.h"
#include "kernels/ops/activation.h"

// bf16 matrix products on AMX tiles (16 rows of 64 bytes; TDPBF16PS: 16 x 32 by 32 x 16 into 16 x 16 f32). Serial.
// Operands are first copied into tile order: a "panel" is 32 rows of a or 32 columns of b (its lanes), a "step" 32
// elements of the inner dimension, and each step of a panel two tiles, 2 KB without gaps. So every tile load is 1 KB of
// consecutive memory, edges are zeros, and strides and transposition are settled in one place.

namespace uvic::cpu::amx {

constexpr int64_t kPanel = 32, kStep = 32, kTiles = kPanel * kStep;

struct Operand {
  const bf16* data;
  int64_t lanes, inner, lane_stride, inner_stride;  // one of the strides is 1
  Activation act;                                   // applied to every element on its way
};
struct Range {
  int64_t begin, end;
};
enum class Side : uint8_t { a, b };

// Writes the given panels and steps of from: each step kTiles after the one before, each panel panel_stride after the
// one before. Walks along whichever dimension is contiguous in memory.
void pack(Side side, const Operand& from, Range panels, Range steps, bf16* to, int64_t panel_stride);

// What happens to a sum at (row, column), and where: see cpu::Matmul. Any pointer but c may be null.
struct Epilogue {
  void* c;
  bool c_is_f32, accumulate;
  Activation act;
  bool backward;
  const bf16* residual;
  bf16* pre;
  int64_t rows, columns, c_stride, residual_stride, pre_stride;
};

// The most panels of b that are multiplied together, and the floats of scratch that this takes.
constexpr int64_t kGroup = 16, kSums = 2 * kGroup * kTiles;

// Some panels of a times some of b: consecutive ones, panel_stride apart. The results begin at (row, column). Packed
// operands and sums are aligned to 64 bytes.
struct Product {
  const bf16* a;
  int64_t a_panels;
  const bf16* b;
  int64_t b_panels, panel_stride, steps;
  float* sums;        // scratch, kSums of them
  const float* bias;  // for the columns of these panels, all 32 of each; may be null
  int64_t row, column;
};

void multiply(const Product& m, const Epilogue& e);

}  // namespace uvic::cpu::amx
