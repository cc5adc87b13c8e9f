#include "kernels/cpu/simd/blocks_amx.h"

namespace uvic::cpu::amx {
namespace {

// 32 x 32 sums are added to c's corner [rows, columns], rows apart by stride.
void add_rows(const float* sums, float* c, int64_t stride, int64_t rows, int64_t columns) {
  const __mmask32 mask = first_words(columns);
  for (int64_t r = 0; r < least(kPanel, rows); ++r) {
    const Pair x = sums_row(sums, r), y = load_pair(c + r * stride, mask);
    store_pair(c + r * stride, {x.first + y.first, x.second + y.second}, mask);
  }
}

// The same for c's transpose: c has a row for each of their columns.
void add_columns(const float* sums, float* c, int64_t stride, int64_t rows, int64_t columns) {
  const __mmask32 mask = first_words(rows);
  for (int64_t half = 0; half < 2; ++half) {
    __m512i upper[16], lower[16];  // of 16 columns: rows 0 to 15, rows 16 to 31
    for (int64_t i = 0; i < 16; ++i) {
      upper[i] = _mm512_loadu_si512(sums + half * kTile + 16 * i);
      lower[i] = _mm512_loadu_si512(sums + (half + 2) * kTile + 16 * i);
    }
    transpose16(upper);
    transpose16(lower);
    for (int64_t j = 0; j < least(16, columns - 16 * half); ++j) {
      float* to = c + (16 * half + j) * stride;
      const Pair y = load_pair(to, mask);
      store_pair(to, {y.first + F32{_mm512_castsi512_ps(upper[j])}, y.second + F32{_mm512_castsi512_ps(lower[j])}},
                 mask);
    }
  }
}

}  // namespace

// The inner dimension is by far the longest, so it is walked through once for kRowPanels by kColumnPanels of results,
// whose sums stay in L2 (512 KB) with kBlockSteps steps of these panels (512 and 256 KB): each block of a comes from L2
// into L1 once, and passes by all panels of b.
void accumulate(const Accumulation& m) {
  const TileUnit unit;
  const Layout& layout = m.a.layout;
  for (int64_t g = m.b_panels.begin; g < m.b_panels.end; g += kColumnPanels)
    for (int64_t f = 0; f < m.a.panels; f += kRowPanels) {
      const int64_t width = least(kColumnPanels, m.b_panels.end - g), height = least(kRowPanels, m.a.panels - f);
      const auto sums = [&](int64_t p, int64_t c) { return m.sums + (p * kColumnPanels + c) * kTiles; };
      for (int64_t i = 0; i < layout.blocks(); ++i) {
        const Layout block{width, layout.length(i)};
        pack(Side::b, m.b, {g, g + width}, {layout.begin(i), layout.begin(i + 1)}, m.packed_b,
             {width, layout.length(i)}, 0, 0);
        const int64_t next = i + 1 < layout.blocks() ? i + 1 : 0;
        Ahead more = ahead(m.a.block(f, next), height * layout.length(next) * kTiles);
        for (int64_t p = 0; p < height; ++p)
          for (int64_t c = 0; c < width; ++c)
            multiply_block(m.a.block(f + p, i), m.packed_b + c * block.steps * kTiles, block.steps, sums(p, c), i == 0,
                           nullptr, [&] { more.lines(4); });
      }
      for (int64_t p = 0; p < height; ++p)
        for (int64_t c = 0; c < width; ++c) {
          const int64_t row = (f + p) * kPanel, column = (g + c) * kPanel;
          float* to = m.c + row * m.row_stride + column * m.column_stride;
          m.column_stride == 1 ? add_rows(sums(p, c), to, m.row_stride, m.rows - row, m.columns - column)
                               : add_columns(sums(p, c), to, m.column_stride, m.rows - row, m.columns - column);
        }
    }
}

}  // namespace uvic::cpu::amx
