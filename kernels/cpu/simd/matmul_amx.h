#pragma once

#include "kernels/core/tensor.h"
#include "kernels/ops/activation.h"

// bf16 matrix products on AMX tiles (16 rows of 64 bytes; TDPBF16PS: 16 x 32 by 32 x 16 into 16 x 16 f32). Serial.
// Operands are first copied into tile order: a "panel" is 32 rows of a or 32 columns of b (its lanes), a "step" 32
// elements of the inner dimension, and each step of a panel two tiles, 2 KB without gaps. So every tile load is 1 KB of
// consecutive memory, edges are zeros, and strides and transposition are settled in one place.

namespace uvic::cpu::amx {

constexpr int64_t kPanel = 32, kStep = 32, kTiles = kPanel * kStep, kBlockSteps = 16;

// Where the steps of panels lie: in blocks of about kBlockSteps steps, a block all panels one after the other. What is
// in use at once is so without gaps. Panels as a whole would be a power of two apart for most networks, and share a few
// sets of the caches (an inner dimension of 1024: 0.6 TFLOP/s instead of 1.9).
struct Layout {
  int64_t panels, steps;
  constexpr int64_t blocks() const { return steps < kBlockSteps ? 1 : (steps + kBlockSteps / 2) / kBlockSteps; }
  constexpr int64_t begin(int64_t block) const { return steps * block / blocks(); }
  constexpr int64_t length(int64_t block) const { return begin(block + 1) - begin(block); }  // in steps
  constexpr int64_t offset(int64_t panel, int64_t block) const {
    return (begin(block) * panels + length(block) * panel) * kTiles;
  }
  constexpr int64_t size() const { return panels * steps * kTiles; }
};

struct Operand {
  const bf16* data;
  int64_t lanes, inner, lane_stride, inner_stride;  // one of the strides is 1
};
struct Range {
  int64_t begin, end;
};
enum class Side : uint8_t { a, b };

// Writes the given panels and steps of from into the layout at to, beginning there with (panel, step). Walks along
// whichever dimension is contiguous in memory.
void pack(Side side, const Operand& from, Range panels, Range steps, bf16* to, const Layout& layout, int64_t panel,
          int64_t step);

// What happens to a sum at (row, column), and where: see cpu::Matmul. Any pointer but c may be null.
struct Epilogue {
  bf16* c;
  Activation act;
  bool backward;
  const bf16* residual;
  bf16* pre;
  int64_t rows, columns, c_stride, residual_stride, pre_stride;
};

// The most panels of b that are multiplied together, and the floats of scratch that this takes.
constexpr int64_t kGroup = 16, kSums = 2 * kGroup * kTiles;

// A packed operand, of which the panels in use begin with panel. Aligned to 64 bytes.
struct Packed {
  const bf16* data;
  Layout layout;
  int64_t panel, panels;
  const bf16* block(int64_t p, int64_t i) const { return data + layout.offset(panel + p, i); }
};

// Some panels of a times some of b. The results begin at (row, column).
struct Product {
  Packed a, b;
  float* sums;        // scratch, kSums of them, aligned to 64 bytes
  const float* bias;  // for the columns of these panels, all 32 of each; may be null
  int64_t row, column;
};

void multiply(const Product& m, const Epilogue& e);

// c += a b for matrices with a long inner dimension and f32 results, as gradients of weights are: all of a's panels
// times the given ones of b, which is packed here. One of c's strides is 1, and [rows, columns] is all of it.
struct Accumulation {
  Packed a;
  Operand b;
  Range b_panels;
  bf16* packed_b;  // scratch, kAccumulatedB elements
  float* sums;     // scratch, kAccumulated floats; both aligned to 64 bytes
  float* c;
  int64_t rows, columns, row_stride, column_stride;
};
constexpr int64_t kRowPanels = 16, kColumnPanels = 8;
constexpr int64_t kAccumulated = kRowPanels * kColumnPanels * kTiles,
                  kAccumulatedB = 3 * kBlockSteps / 2 * kColumnPanels * kTiles;

void accumulate(const Accumulation& m);

}  // namespace uvic::cpu::amx
