#include "kernels/cpu/matmul.h"

#include <algorithm>

#include "kernels/core/with_dtype.h"
#include "kernels/cpu/panels.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/plan.h"
#include "kernels/cpu/simd/activation.h"

namespace uvic::cpu {
namespace {

// Panels of a that one thread packs and then multiplies with every panel of b: at most 512 rows, so that b, which is
// read again for each such chunk, comes from L3 seldom enough while the chunk still stays in L2.
constexpr int64_t kChunkPanels = 16;

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

void multiply_amx(Context& ctx, const Matmul& m) {
  const amx::Operand a[] = {lanes_are_rows(m.a), lanes_are_rows(m.a2)};
  const Inner inner(m.b, m.b2);
  const amx::Layout layout = right_layout(m.b, m.b2);
  const int64_t column_panels = layout.panels, row_panels = pieces(m.c.rows, amx::kPanel);

  const bf16* right = right_side(ctx, m.b, m.b2, m.packed_b);
  const float* bias = padded_bias(ctx, m.bias, m.c.columns);
  const amx::Epilogue epilogue{.c = static_cast<bf16*>(m.c.data),
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
  const amx::Layout chunk_layout{chunk_panels, layout.steps};
  bf16* packed_a = ctx.empty(DType::bf16, {ctx.threads(), chunk_layout.size()}).data<bf16>();
  float* sums = ctx.empty(DType::f32, {ctx.threads(), amx::kSums}).data<float>();
  parallel_for(ctx, ctx.threads(), 1, [&](int64_t thread, int64_t) {
    const int64_t i = thread / grid.columns, j = thread % grid.columns;
    const amx::Range rows{row_panels * i / grid.rows, row_panels * (i + 1) / grid.rows};
    const amx::Range columns{column_panels * j / grid.columns, column_panels * (j + 1) / grid.columns};
    bf16* chunk = packed_a + thread * chunk_layout.size();
    for (int64_t p = rows.begin; p < rows.end; p += chunk_panels) {
      const amx::Range panels{p, std::min(rows.end, p + chunk_panels)};
      for (int f = 0; f < 2; ++f)
        amx::pack(amx::Side::a, a[f], panels, {0, inner.steps[f]}, chunk, chunk_layout, 0, inner.begin(f));
      amx::multiply({.a = {chunk, chunk_layout, 0, panels.end - p},
                     .b = {right, layout, columns.begin, columns.end - columns.begin},
                     .sums = sums + thread * amx::kSums,
                     .bias = bias ? bias + columns.begin * amx::kPanel : nullptr,
                     .row = p * amx::kPanel,
                     .column = columns.begin * amx::kPanel},
                    epilogue);
    }
  });
}

// c += a b. What has fewer lanes should be a, which is packed as a whole.
void accumulate_amx(Context& ctx, const Matrix& a, const Matrix& b, const Matrix& c) {
  const amx::Layout left{pieces(c.rows, amx::kPanel), pieces(a.columns, amx::kStep)};
  const int64_t column_panels = pieces(c.columns, amx::kPanel);
  bf16* packed_a = ctx.empty(DType::bf16, shape(left)).data<bf16>();
  bf16* packed_b = ctx.empty(DType::bf16, {ctx.threads(), amx::kAccumulatedB}).data<bf16>();
  float* sums = ctx.empty(DType::f32, {ctx.threads(), amx::kAccumulated}).data<float>();
  pack(ctx, amx::Side::a, lanes_are_rows(a), packed_a, left);
  parallel_for(ctx, ctx.threads(), 1, [&](int64_t thread, int64_t) {
    amx::accumulate({.a = {packed_a, left, 0, left.panels},
                     .b = lanes_are_rows(b.transposed()),
                     .b_panels = {column_panels * thread / ctx.threads(), column_panels * (thread + 1) / ctx.threads()},
                     .packed_b = packed_b + thread * amx::kAccumulatedB,
                     .sums = sums + thread * amx::kAccumulated,
                     .c = static_cast<float*>(c.data),
                     .rows = c.rows,
                     .columns = c.columns,
                     .row_stride = c.row_stride,
                     .column_stride = c.column_stride});
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

// What Plans::product does not have is added before or after it. In bf16, sums that are read again stay in f32, so that
// nothing is rounded twice.
void multiply_by_plans(Context& ctx, const Matmul& m) {
  Plans& plans = ctx.backend_state<Plans>();
  const auto f32_sums = [&] { return matrix(ctx.empty(DType::f32, {m.c.rows, m.c.columns})); };
  Matmul last = m;
  last.a2 = last.b2 = last.pre = {};
  last.backward = false;
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
  m.c.rows > m.c.columns ? accumulate_amx(ctx, m.b.transposed(), m.a.transposed(), m.c.transposed())
                         : accumulate_amx(ctx, m.a, m.b, m.c);
}

}  // namespace uvic::cpu
