#include "kernels/cpu/matmul.h"

#include <algorithm>

#include "kernels/cpu/dtype.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/plan.h"
#include "kernels/cpu/simd/activation.h"
#include "kernels/cpu/simd/matmul_amx.h"

namespace uvic::cpu {
namespace {

// Panels of a that one thread packs and then multiplies with every panel of b: at most 512 rows, so that b, which is
// read again for each such chunk, comes from L3 seldom enough while the chunk still stays in L2.
constexpr int64_t kChunkPanels = 16;
// Of the inner dimension, packed at a time where sums are added to c anyway: bounds scratch for weight gradients, whose
// inner dimension is the batch.
constexpr int64_t kInnerLimit = 1280;

int64_t pieces(int64_t n, int64_t size) { return (n + size - 1) / size; }

// Threads as a grid over panels of rows and columns, so that the largest share of work is the smallest it can be. Each
// thread packs its rows of a for itself, which takes as long as multiplying them with kPackCost panels of b.
constexpr int64_t kPackCost = 4;
struct Grid {
  int64_t rows = 1, columns = 1;
};
Grid grid_of(int64_t row_panels, int64_t column_panels, int64_t threads) {
  Grid best{threads, 1};
  const auto cost = [&](Grid g) { return pieces(row_panels, g.rows) * (pieces(column_panels, g.columns) + kPackCost); };
  for (int64_t columns = 2; columns <= threads; ++columns)
    if (threads % columns == 0 && cost({threads / columns, columns}) < cost(best)) best = {threads / columns, columns};
  return best;
}

amx::Operand lanes_are_rows(const Matrix& m, Activation act = Activation::none) {
  return {static_cast<const bf16*>(m.data), m.rows, m.columns, m.row_stride, m.column_stride, act};
}

bool by_amx(const Context& ctx, DType dtype) { return ctx.isa() >= Isa::amx && dtype == DType::bf16; }

// How a b + a2 b2 is packed: one product over both inner dimensions, each padded to whole steps.
struct Layout {
  int64_t inner[2];  // steps
  int64_t column_panels;
  Layout(const Matrix& b, const Matrix& b2)
      : inner{pieces(b.rows, amx::kStep), pieces(b2.rows, amx::kStep)}, column_panels(pieces(b.columns, amx::kPanel)) {}
  int64_t steps() const { return inner[0] + inner[1]; }
  int64_t panel_size() const { return steps() * amx::kTiles; }
  int64_t part(int i) const { return i == 0 ? 0 : inner[0] * amx::kTiles; }  // where b2 begins in a panel
  Shape shape() const { return {column_panels, panel_size()}; }
};

void pack_right_side(Context& ctx, const Matrix& b, Activation b_act, const Matrix& b2, const Layout& layout,
                     bf16* to) {
  const amx::Operand from[] = {lanes_are_rows(b.transposed(), b_act), lanes_are_rows(b2.transposed())};
  for (int i = 0; i < 2; ++i) {
    // Along whichever way memory runs.
    const bool by_panels = from[i].inner_stride == 1;
    const int64_t n = by_panels ? layout.column_panels : layout.inner[i];
    if (n == 0) continue;
    parallel_for(ctx, n, pieces(n, ctx.threads()), [&](int64_t begin, int64_t end) {
      const amx::Range panels = by_panels ? amx::Range{begin, end} : amx::Range{0, layout.column_panels};
      const amx::Range here = by_panels ? amx::Range{0, layout.inner[i]} : amx::Range{begin, end};
      bf16* first = to + panels.begin * layout.panel_size() + layout.part(i) + here.begin * amx::kTiles;
      amx::pack(amx::Side::b, from[i], panels, here, first, layout.panel_size());
    });
  }
}

void multiply_amx(Context& ctx, const Matmul& m) {
  const amx::Operand a[] = {lanes_are_rows(m.a), lanes_are_rows(m.a2)};
  const Layout layout(m.b, m.b2);
  const int64_t panel_size = layout.panel_size(), column_panels = layout.column_panels;
  const int64_t row_panels = pieces(m.c.rows, amx::kPanel);

  Tensor right = m.packed_b;
  if (right.empty()) {
    right = ctx.empty(DType::bf16, layout.shape());
    pack_right_side(ctx, m.b, m.b_act, m.b2, layout, right.data<bf16>());
  }
  UVIC_CHECK(right.shape() == layout.shape(), "matmul: packed_b is ", right.shape(), ", wanted ", layout.shape());
  const bf16* packed_b = right.data<bf16>();

  float* bias = nullptr;
  if (m.bias) {
    bias = ctx.empty(DType::f32, {column_panels, amx::kPanel}).data<float>();
    for (int64_t j = 0; j < column_panels * amx::kPanel; ++j)
      bias[j] = j < m.c.columns ? to_float(static_cast<const bf16*>(m.bias)[j]) : 0.0f;
  }
  const amx::Epilogue epilogue{.c = m.c.data,
                               .c_is_f32 = m.c.dtype == DType::f32,
                               .accumulate = m.accumulate,
                               .act = m.act,
                               .backward = m.backward,
                               .residual = static_cast<const bf16*>(m.residual.data),
                               .pre = static_cast<bf16*>(m.pre.data),
                               .rows = m.c.rows,
                               .columns = m.c.columns,
                               .c_stride = m.c.row_stride,
                               .residual_stride = m.residual.row_stride,
                               .pre_stride = m.pre.row_stride};
  const Grid grid = grid_of(row_panels, column_panels, ctx.threads());
  const int64_t share = pieces(row_panels, grid.rows), chunk_panels = pieces(share, pieces(share, kChunkPanels));
  const int64_t chunk_size = chunk_panels * panel_size;
  bf16* packed_a = ctx.empty(DType::bf16, {ctx.threads(), chunk_size}).data<bf16>();
  float* sums = ctx.empty(DType::f32, {ctx.threads(), amx::kSums}).data<float>();
  parallel_for(ctx, ctx.threads(), 1, [&](int64_t thread, int64_t) {
    const int64_t i = thread / grid.columns, j = thread % grid.columns;
    const amx::Range rows{row_panels * i / grid.rows, row_panels * (i + 1) / grid.rows};
    const amx::Range columns{column_panels * j / grid.columns, column_panels * (j + 1) / grid.columns};
    bf16* chunk = packed_a + thread * chunk_size;
    for (int64_t p = rows.begin; p < rows.end; p += chunk_panels) {
      const amx::Range panels{p, std::min(rows.end, p + chunk_panels)};
      for (int f = 0; f < 2; ++f)
        amx::pack(amx::Side::a, a[f], panels, {0, layout.inner[f]}, chunk + layout.part(f), panel_size);
      amx::multiply({.a = chunk,
                     .a_panels = panels.end - p,
                     .b = packed_b + columns.begin * panel_size,
                     .b_panels = columns.end - columns.begin,
                     .panel_stride = panel_size,
                     .steps = layout.steps(),
                     .sums = sums + thread * amx::kSums,
                     .bias = bias ? bias + columns.begin * amx::kPanel : nullptr,
                     .row = p * amx::kPanel,
                     .column = columns.begin * amx::kPanel},
                    epilogue);
    }
  });
}

// pre = sums and c = act(sums) + residual, or c = sums act'(pre)
void activate(Context& ctx, const Matmul& m, const Matrix& sums) {
  const auto& kernels = pick(ctx, avx2::activation_kernels, avx512::activation_kernels);
  parallel_for(ctx, m.c.rows, 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      with_working(m.c.dtype, [&](auto element) {
        using T = decltype(element);
        const auto row = [&](const Matrix& x) { return static_cast<T*>(x.data) + i * x.row_stride; };
        const float* from = static_cast<const float*>(sums.data) + i * sums.row_stride;
        if (m.backward) return kernels.of<T>().backward(m.act, row(m.pre), from, row(m.c), m.c.columns);
        const T* residual = m.residual ? row(m.residual) : nullptr;
        kernels.of<T>().forward(m.act, from, residual, row(m.pre), row(m.c), m.c.columns);
      });
  });
}

// act(x), where x has neither gaps nor transposition.
Matrix applied(Context& ctx, Activation act, const Matrix& x) {
  const auto& kernels = pick(ctx, avx2::activation_kernels, avx512::activation_kernels);
  const Tensor y = ctx.empty(x.dtype, {x.rows, x.columns});
  with_working(x.dtype, [&](auto element) {
    using T = decltype(element);
    parallel_for(ctx, x.rows, rows_for(x.columns), [&](int64_t begin, int64_t end) {
      const int64_t at = begin * x.columns;
      kernels.of<T>().apply(act, static_cast<const T*>(x.data) + at, y.data<T>() + at, (end - begin) * x.columns);
    });
  });
  return matrix(y);
}

// What Plans::product does not have is added before or after it. In bf16, sums that are read again stay in f32, so that
// nothing is rounded twice.
void multiply_by_plans(Context& ctx, const Matmul& m) {
  Plans& plans = ctx.backend_state<Plans>();
  const auto f32_sums = [&] { return matrix(ctx.empty(DType::f32, {m.c.rows, m.c.columns})); };
  Matmul last = m;
  last.a2 = last.b2 = last.pre = {};
  last.backward = false;
  if (m.b_act != Activation::none) last.b = applied(ctx, m.b_act, m.b);
  if (m.pre) {
    const Matrix& result = m.backward ? m.c : m.pre;
    last.c = result.dtype == DType::f32 ? result : f32_sums();
    last.act = Activation::none;
    last.residual = {};
  }
  if (m.a2) {
    last.residual = f32_sums();
    plans.product({.a = m.a2, .b = m.b2, .c = last.residual});
  }
  plans.product(last);
  if (m.pre) activate(ctx, m, last.c);
}

}  // namespace

// Why not oneDNN for bf16 wherever it can: milliseconds of one core (oneDNN 2.6.3 / ours, in two runs on one machine),
// random numbers, N rows by K inputs by M outputs. Zeros would take two thirds of the time.
//      N     K     M   forward      bias, GELU   dx           dw
//   2056   512  1536   3.91 / 2.41  5.43 / 2.99  4.08 / 2.80  5.64 / 2.94
//   2056   512   512   0.88 / 0.75  1.69 / 0.90  0.81 / 0.76  1.46 / 1.12
//   2056   512  2048   5.49 / 3.30  8.10 / 4.36  6.13 / 4.12  8.66 / 4.44
//   2056  2048   512   6.49 / 4.34  7.59 / 4.12  6.65 / 3.29  9.14 / 4.47
// oneDNN has no long skip without the concatenation, and keeps nothing for backward while it applies an activation.
void matmul(Context& ctx, const Matmul& m) {
  const auto scope = ctx.scope("matmul");
  if (!by_amx(ctx, m.a.dtype)) return multiply_by_plans(ctx, m);
  if (!m.accumulate) return multiply_amx(ctx, m);
  const int64_t parts = pieces(m.a.columns, kInnerLimit);
  for (int64_t i = 0; i < parts; ++i) {
    const auto part = ctx.scope("part");
    const int64_t begin = m.a.columns * i / parts, end = m.a.columns * (i + 1) / parts;
    multiply_amx(ctx, {.a = m.a.column_range(begin, end),
                       .b = m.b.row_range(begin, end),
                       .c = m.c,
                       .b_act = m.b_act,
                       .accumulate = true});
  }
}

OwnedTensor pack_right_side(Context& ctx, const Matrix& b, const Matrix& b2) {
  if (!by_amx(ctx, b.dtype)) return {};
  const Layout layout(b, b2);
  OwnedTensor packed(ctx.device(), DType::bf16, layout.shape());
  pack_right_side(ctx, b, Activation::none, b2, layout, packed.tensor.data<bf16>());
  return packed;
}

}  // namespace uvic::cpu
