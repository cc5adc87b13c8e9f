#include "kernels/cpu/panels.h"

#include "kernels/core/with_dtype.h"
#include "kernels/cpu/parallel.h"

namespace uvic::cpu {
namespace {

void pack_right_side(Context& ctx, const Matrix& b, const Matrix& b2, bf16* to) {
  const amx::Layout layout = right_layout(b, b2);
  pack(ctx, amx::Side::b, lanes_are_rows(b.transposed()), to, layout);
  pack(ctx, amx::Side::b, lanes_are_rows(b2.transposed()), to, layout, Inner(b, b2).begin(1));
}

}  // namespace

bool by_amx(const Context& ctx, DType dtype) { return ctx.isa() >= Isa::amx && dtype == DType::bf16; }

amx::Operand lanes_are_rows(const Matrix& m) {
  return {static_cast<const bf16*>(m.data), m.rows, m.columns, m.row_stride, m.column_stride};
}

amx::Layout right_layout(const Matrix& b, const Matrix& b2) {
  return {pieces(b.columns, amx::kPanel), Inner(b, b2).all()};
}

// Each thread takes its share of the panels or of the steps, whichever way memory runs.
void pack(Context& ctx, amx::Side side, const amx::Operand& from, bf16* to, const amx::Layout& layout, int64_t step) {
  const int64_t panels = layout.panels, steps = pieces(from.inner, amx::kStep);
  const bool by_panels = from.inner_stride == 1;
  const int64_t n = by_panels ? panels : steps;
  if (n == 0) return;
  parallel_for(ctx, n, pieces(n, ctx.threads()), [&](int64_t begin, int64_t end) {
    const amx::Range here{begin, end};
    by_panels ? amx::pack(side, from, here, {0, steps}, to, layout, begin, step)
              : amx::pack(side, from, {0, panels}, here, to, layout, 0, step + begin);
  });
}

const bf16* right_side(Context& ctx, const Matrix& b, const Matrix& b2, const Tensor& prepacked) {
  const Shape wanted = shape(right_layout(b, b2));
  if (!prepacked.empty()) {
    UVIC_CHECK(prepacked.shape() == wanted, "a prepacked operand is ", prepacked.shape(), ", wanted ", wanted);
    return prepacked.data<bf16>();
  }
  bf16* packed = ctx.empty(DType::bf16, wanted).data<bf16>();
  pack_right_side(ctx, b, b2, packed);
  return packed;
}

OwnedTensor prepack(Context& ctx, const Matrix& b, const Matrix& b2) {
  if (!by_amx(ctx, b.dtype)) return {};
  OwnedTensor packed(ctx.device(), DType::bf16, shape(right_layout(b, b2)));
  pack_right_side(ctx, b, b2, packed.tensor.data<bf16>());
  return packed;
}

const float* padded_bias(Context& ctx, const void* bias, int64_t columns) {
  if (!bias) return nullptr;
  const int64_t padded = pieces(columns, amx::kPanel) * amx::kPanel;
  float* to = ctx.empty(DType::f32, {padded}).data<float>();
  for (int64_t j = 0; j < padded; ++j) to[j] = j < columns ? to_float(static_cast<const bf16*>(bias)[j]) : 0.0f;
  return to;
}

}  // namespace uvic::cpu
