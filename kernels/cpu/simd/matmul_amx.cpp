#include "kernels/cpu/simd/matmul_amx.h"

#include "kernels/cpu/simd/blocks_amx.h"

namespace uvic::cpu::amx {
namespace {

// ---- packing --------------------------------------------------------------------------------------------------------
// A tile of a holds rows of 32 elements. A tile of b holds pairs: row p has elements 2p and 2p + 1 of sixteen columns,
// side by side. As 16 x 16 words of two elements, one is the other's transpose; so what lies contiguous along the inner
// dimension is read as rows, what lies contiguous along the lanes is read as pairs, and is then transposed or not.
void pack_step(Side side, const Operand& from, int64_t panel, int64_t step, bf16* to) {
  const int64_t lane = panel * kPanel, at = step * kStep, lanes = from.lanes - lane, inner = from.inner - at;
  const bf16* corner = from.data + lane * from.lane_stride + at * from.inner_stride;
  const bool by_rows = from.inner_stride == 1;
  __m512i tile[2][16];
  if (by_rows) {
    const Columns rows(corner, from.lane_stride, lanes, inner, 0);
    for (int i = 0; i < 32; ++i) tile[i / 16][i % 16] = rows.row(i);
  } else {
    const Columns rows(corner, from.inner_stride, inner, lanes, 0);
    for (int i = 0; i < 16; ++i) {
      const PairedRows pairs(rows.row(2 * i), rows.row(2 * i + 1));
      tile[0][i] = pairs.first;
      tile[1][i] = pairs.second;
    }
  }
  for (int half = 0; half < 2; ++half, to += kTiles / 2) {
    if (by_rows == (side == Side::b)) transpose16(tile[half]);
    for (int i = 0; i < 16; ++i) _mm512_store_si512(to + i * 32, tile[half][i]);
  }
}

// Calls f(step, block of the layout that it falls into, its place in there).
template <class F>
void for_each_step(Range steps, const Layout& layout, int64_t step, const F& f) {
  for (int64_t i = 0; i < layout.blocks(); ++i)
    for (int64_t s = layout.begin(i); s < layout.begin(i + 1); ++s)
      if (const int64_t from = s - step + steps.begin; from >= steps.begin && from < steps.end)
        f(from, i, s - layout.begin(i));
}

// ---- epilogue -------------------------------------------------------------------------------------------------------
// What is left to do for the sums of one panel by one panel, which belong at (row, column): their rows [next, end).
template <Activation act>
struct Pending {
  const Epilogue& e;
  const float* sums;
  int64_t row, column, next, end;
  __mmask32 columns = first_words(e.columns - column);

  UVIC_INLINE void finish(int64_t count) {
    for (const int64_t stop = least(end, next + count); next < stop; ++next) {
      const int64_t r = row + next;
      Pair x = sums_row(sums, next);
      if (e.backward) {
        const Pair pre = load_pair(e.pre + r * e.pre_stride + column, columns);
        x = {x.first * derivative<act>(pre.first), x.second * derivative<act>(pre.second)};
      } else {
        if (e.pre) store_pair(e.pre + r * e.pre_stride + column, x, columns);
        x = {activated<act>(x.first), activated<act>(x.second)};
      }
      if (e.residual) {
        const Pair more = load_pair(e.residual + r * e.residual_stride + column, columns);
        x = {x.first + more.first, x.second + more.second};
      }
      store_pair(e.c + r * e.c_stride + column, x, columns);
    }
  }
};

// ---- products -------------------------------------------------------------------------------------------------------
template <Activation act>
void multiply_as(const Product& m, const Epilogue& e) {
  const Layout& layout = m.b.layout;
  const int64_t blocks = layout.blocks(), share = (kPanel + blocks - 1) / blocks;
  const int64_t fitting = kGroupBytes / (layout.steps * kTiles * 2), group = fitting < 4 ? 4 : least(fitting, kGroup);
  for (int64_t g = 0; g < m.b.panels; g += group) {
    const int64_t width = least(group, m.b.panels - g), column = m.column + g * kPanel, results = m.a.panels * width;
    const int64_t lag = blocks > 1 ? width : kLag, places = lag + (blocks > 1 ? width : 1);
    const auto sums = [&](int64_t q) { return m.sums + q % places * kTiles; };  // of result q, row by row of panels
    const auto pending = [&](int64_t q, int64_t begin, int64_t end) {
      const int64_t row = m.row + q / width * kPanel, rows = q < 0 ? 0 : least(end, e.rows - row);
      return Pending<act>{e, q < 0 ? nullptr : sums(q), row, column + q % width * kPanel, least(begin, rows), rows};
    };
    for (int64_t p = 0; p < m.a.panels; ++p)
      for (int64_t i = 0; i < blocks; ++i)
        for (int64_t c = 0; c < width; ++c) {
          const int64_t steps = layout.length(i), q = p * width + c;
          auto earlier = pending(q - lag, i * share, least(kPanel, (i + 1) * share));
          const int64_t each = (earlier.end - earlier.next + steps - 1) / steps;
          multiply_block(m.a.block(p, i), m.b.block(g + c, i), steps, sums(q), i == 0,
                         m.bias ? m.bias + (g + c) * kPanel : nullptr, [&] { earlier.finish(each); });
        }
    for (int64_t q = results < lag ? 0 : results - lag; q < results; ++q) pending(q, 0, kPanel).finish(kPanel);
  }
}

}  // namespace

void pack(Side side, const Operand& from, Range panels, Range steps, bf16* to, const Layout& layout, int64_t panel,
          int64_t step) {
  const auto one = [&](int64_t p, int64_t s, int64_t block, int64_t place) {
    pack_step(side, from, p, s, to + layout.offset(p - panels.begin + panel, block) + place * kTiles);
  };
  if (from.inner_stride == 1) {
    for (int64_t p = panels.begin; p < panels.end; ++p)
      for_each_step(steps, layout, step, [&](int64_t s, int64_t block, int64_t place) { one(p, s, block, place); });
  } else {
    for_each_step(steps, layout, step, [&](int64_t s, int64_t block, int64_t place) {
      for (int64_t p = panels.begin; p < panels.end; ++p) one(p, s, block, place);
    });
  }
}

void multiply(const Product& m, const Epilogue& e) {
  const TileUnit unit;
  switch (e.act) {
    case Activation::none: return multiply_as<Activation::none>(m, e);
    case Activation::gelu: return multiply_as<Activation::gelu>(m, e);
    case Activation::silu: return multiply_as<Activation::silu>(m, e);
    case Activation::quick_gelu: return multiply_as<Activation::quick_gelu>(m, e);
  }
}

}  // namespace uvic::cpu::amx
