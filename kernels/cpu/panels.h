#pragma once

#include "kernels/cpu/matmul.h"
#include "kernels/cpu/simd/matmul_amx.h"

// Operands of AMX products in tile order, by all threads of a Context: what matmul and the multilayer perceptron share.

namespace uvic::cpu {

inline int64_t pieces(int64_t n, int64_t size) { return (n + size - 1) / size; }

// Whether products of this dtype go by AMX.
bool by_amx(const Context& ctx, DType dtype);

amx::Operand lanes_are_rows(const Matrix& m);

// a b + a2 b2 is one product over both inner dimensions, each padded to whole steps.
struct Inner {
  int64_t steps[2];
  Inner(const Matrix& b, const Matrix& b2) : steps{pieces(b.rows, amx::kStep), pieces(b2.rows, amx::kStep)} {}
  int64_t begin(int i) const { return i == 0 ? 0 : steps[0]; }
  int64_t all() const { return steps[0] + steps[1]; }
};
amx::Layout right_layout(const Matrix& b, const Matrix& b2 = {});
inline Shape shape(const amx::Layout& layout) { return {layout.panels, layout.steps * amx::kTiles}; }

// All of from, which begins with the given step of the layout at to.
void pack(Context& ctx, amx::Side side, const amx::Operand& from, bf16* to, const amx::Layout& layout,
          int64_t step = 0);

// b and b2 (or none) in tile order: prepacked, if it is not empty, else packed into ctx.arena().
const bf16* right_side(Context& ctx, const Matrix& b, const Matrix& b2, const Tensor& prepacked);
// The same to keep; empty where products of b would not go by AMX.
OwnedTensor prepack(Context& ctx, const Matrix& b, const Matrix& b2 = {});

// bias [columns] (or null) in f32 in ctx.arena(), and zeros up to a whole panel.
const float* padded_bias(Context& ctx, const void* bias, int64_t columns);

}  // namespace uvic::cpu
