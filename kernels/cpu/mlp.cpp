#include "kernels/ops/mlp.h"

#include <algorithm>

#include "kernels/core/with_dtype.h"
#include "kernels/cpu/panels.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd/activation.h"
#include "kernels/cpu/simd/mlp_amx.h"
#include "kernels/ops/linear.h"

namespace uvic::cpu {

namespace {

// x = act(x)
void activate(Context& ctx, Activation act, Tensor x) {
  const auto& kernels = pick(ctx, avx2::activation_kernels, avx512::activation_kernels);
  with_working(x.dtype(), [&](auto element) {
    using T = decltype(element);
    parallel_for(ctx, x.numel(), 16384, [&](int64_t begin, int64_t end) {
      kernels.of<T>().apply(act, x.data<T>() + begin, x.data<T>() + begin, end - begin);
    });
  });
}

// Panels of a that one thread takes through both products: the more, the more seldom it reads the weights again, but
// their outputs must stay in L2 (512 outputs: 12 are 1% faster than 8 or 16).
constexpr int64_t kOutputBytes = 768 << 10;

// m has everything but a, the rows of c, pre and gradient, and scratch, for the rows of a given matrix.
void chain_rows(Context& ctx, const Matrix& a, const amx::Chain& m) {
  const int64_t panels = pieces(a.rows, amx::kPanel), share = pieces(panels, ctx.threads());
  const int64_t most = kOutputBytes / (m.b2.layout.panels * amx::kTiles * int64_t{sizeof(float)});
  const int64_t chunk = pieces(share, pieces(share, std::clamp<int64_t>(most, 2, 32)));
  const amx::Layout layout{chunk, m.b1.layout.steps};
  int64_t widest = 0;
  for (int64_t i = 0; i < m.b2.layout.blocks(); ++i) widest = std::max(widest, m.b2.layout.length(i));
  const int64_t between = chunk * widest * amx::kTiles, outputs = chunk * m.b2.layout.panels * amx::kTiles;
  bf16* packed = ctx.empty(DType::bf16, {ctx.threads(), layout.size() + between}).data<bf16>();
  float* sums = ctx.empty(DType::f32, {ctx.threads(), amx::kChainSums + outputs}).data<float>();
  parallel_for(ctx, ctx.threads(), 1, [&](int64_t thread, int64_t) {
    amx::Chain rows = m;
    bf16* to = packed + thread * (layout.size() + between);
    rows.between = to + layout.size();
    rows.sums = sums + thread * (amx::kChainSums + outputs);
    rows.outputs = rows.sums + amx::kChainSums;
    const int64_t end = panels * (thread + 1) / ctx.threads();
    for (int64_t p = panels * thread / ctx.threads(); p < end; p += chunk) {
      const int64_t count = std::min(chunk, end - p), row = p * amx::kPanel;
      amx::pack(amx::Side::a, lanes_are_rows(a), {p, p + count}, {0, layout.steps}, to, layout, 0, 0);
      rows.a = {to, layout, 0, count};
      rows.rows = a.rows - row;
      if (m.pre) rows.pre = m.pre + row * m.between_stride;
      if (m.gradient) rows.gradient = m.gradient + row * m.between_stride;
      rows.c = m.c + row * m.c_stride;
      if (m.residual) rows.residual = m.residual + row * m.c_stride;
      amx::chain(rows);
    }
  });
}

amx::Packed whole(Context& ctx, const Matrix& b, const Tensor& prepacked) {
  const amx::Layout layout = right_layout(b);
  return {right_side(ctx, b, {}, prepacked), layout, 0, layout.panels};
}

}  // namespace

void mlp_forward(Context& ctx, const MlpArgs& a, Tensor y, Tensor pre) {
  const auto scope = ctx.scope("mlp");
  if (!by_amx(ctx, a.x.dtype())) {
    const Tensor hidden = ctx.empty(a.x.dtype(), {a.x.dim(0), a.w1.dim(0)});
    uvic::linear_forward(ctx, {.x = a.x, .w = a.w1, .b = a.b1, .residual = {}, .act = a.act, .prepacked = a.prepacked1},
                         hidden, pre);
    return uvic::linear_forward(
        ctx, {.x = hidden, .w = a.w2, .b = a.b2, .residual = a.residual, .prepacked = a.prepacked2}, y);
  }
  const Matrix w1 = matrix(a.w1).transposed(), w2 = matrix(a.w2).transposed();
  chain_rows(ctx, matrix(a.x),
             {.b1 = whole(ctx, w1, a.prepacked1),
              .b2 = whole(ctx, w2, a.prepacked2),
              .bias1 = padded_bias(ctx, a.b1.raw(), w1.columns),
              .bias2 = padded_bias(ctx, a.b2.raw(), w2.columns),
              .act = a.act,
              .pre = pre ? pre.data<bf16>() : nullptr,
              .between_stride = w1.columns,
              .between_columns = w1.columns,
              .c = y.data<bf16>(),
              .residual = a.residual ? a.residual.data<bf16>() : nullptr,
              .c_stride = w2.columns,
              .c_columns = w2.columns});
}

void mlp_backward(Context& ctx, const MlpBackwardArgs& a, Tensor dy, Tensor dx, Tensor dw1, Tensor db1, Tensor dw2,
                  Tensor db2) {
  const auto scope = ctx.scope("mlp");
  const Tensor dpre = ctx.like(a.pre);
  if (!by_amx(ctx, a.x.dtype())) {
    uvic::linear_backward(ctx, {.x = {}, .w = a.w2, .x_act = a.act, .x_pre = a.pre}, dy, dpre, {}, {});
    activate(ctx, a.act, a.pre);
    uvic::linear_backward(ctx, {.x = a.x, .w = a.w1}, dpre, dx, {}, {});
  } else {
    const auto product = ctx.scope("chain");
    chain_rows(ctx, matrix(dy),
               {.b1 = whole(ctx, matrix(a.w2), {}),
                .b2 = whole(ctx, matrix(a.w1), {}),
                .act = a.act,
                .backward = true,
                .pre = a.pre.data<bf16>(),
                .gradient = dpre.data<bf16>(),
                .between_stride = a.pre.dim(1),
                .between_columns = a.pre.dim(1),
                .c = dx.data<bf16>(),
                .c_stride = dx.dim(1),
                .c_columns = dx.dim(1)});
  }
  uvic::linear_backward(ctx, {.x = a.pre, .w = a.w2}, dy, {}, dw2, db2);  // pre holds act(pre) now
  uvic::linear_backward(ctx, {.x = a.x, .w = a.w1}, dpre, {}, dw1, db1);
}

}  // namespace uvic::cpu
