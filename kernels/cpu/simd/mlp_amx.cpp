#include "kernels/cpu/simd/mlp_amx.h"

#include <utility>

#include "kernels/cpu/simd/blocks_amx.h"

namespace uvic::cpu::amx {
namespace {

// Finishes results, 32 x 32 sums each, row after row in the order in which they were made: some while later ones are
// multiplied, the rest when they are needed. Begin (result) gives a function (row) -> void.
template <class Begin>
class Finishing {
 public:
  explicit Finishing(const Begin& begin) : begin_(begin) {}

  UVIC_INLINE void some(int64_t count, int64_t limit) {  // of results before the limit
    for (; count > 0 && result_ < limit; --count) {
      row_(at_);
      if (++at_ == kPanel) at_ = 0, row_ = begin_(++result_);
    }
  }
  void all(int64_t limit) {
    while (result_ < limit) some(kPanel, limit);
  }

 private:
  const Begin& begin_;
  int64_t result_ = 0, at_ = 0;
  decltype(std::declval<Begin>()(int64_t{})) row_ = begin_(0);
};

// Past the caches if it is a whole line: what only backward reads would drive out what is needed now.
UVIC_INLINE void stream_pair(bf16* to, Pair x, __mmask32 mask) {
  if (mask == 0xffffffff && reinterpret_cast<uintptr_t>(to) % 64 == 0)
    _mm512_stream_si512(reinterpret_cast<__m512i*>(to), to_bf16_pair(x.first, x.second));
  else
    store_pair(to, x, mask);
}

// One result's way into the matrix in between: its columns of a's second product, and what backward needs of them.
template <Activation act, bool backward>
struct BetweenRow {
  const float* sums;
  bf16 *to, *pre, *gradient;  // its first rows; to as a step of a panel
  int64_t stride, rows;
  __mmask32 columns;

  UVIC_INLINE void operator()(int64_t r) const {
    const __mmask32 mask = r < rows ? columns : 0;
    Pair x = sums_row(sums, r);
    if constexpr (backward) {
      bf16* const pre_row = pre + r * stride;
      const Pair y = load_pair(pre_row, mask);
      _mm_prefetch(reinterpret_cast<const char*>(pre_row + 2 * kPanel), _MM_HINT_T0);  // a step of training: -2%
      x = {x.first * derivative<act>(y.first), x.second * derivative<act>(y.second)};
      store_pair(pre_row, {activated<act>(y.first), activated<act>(y.second)}, mask);
      store_pair(gradient + r * stride, x, mask);
    } else {
      if (pre) stream_pair(pre + r * stride, x, mask);
      x = {activated<act>(x.first), activated<act>(x.second)};
    }
    _mm512_store_si512(to + r * kStep, to_bf16_pair(x.first, x.second));
  }
};

// One result's way into c.
struct OutputRow {
  const float* sums;
  bf16* c;
  const bf16* residual;
  int64_t stride, rows;
  __mmask32 columns;

  UVIC_INLINE void operator()(int64_t r) const {
    if (r >= rows) return;
    Pair x = sums_row(sums, r);
    if (residual) {
      const Pair more = load_pair(residual + r * stride, columns);
      x = {x.first + more.first, x.second + more.second};
    }
    store_pair(c + r * stride, x, columns);
  }
};

template <Activation act, bool backward>
void chain_as(const Chain& m) {
  const Layout &inner = m.b1.layout, &outer = m.b2.layout;
  const int64_t panels = m.a.panels, outputs = outer.panels;
  const auto output = [&](int64_t q) { return m.outputs + q * kTiles; };
  const auto finish_output = [&](int64_t q) {
    const int64_t row = q / outputs * kPanel, column = q % outputs * kPanel, at = row * m.c_stride + column;
    return OutputRow{output(q),  m.c + at,     m.residual ? m.residual + at : nullptr,
                     m.c_stride, m.rows - row, first_words(m.c_columns - column)};
  };
  Finishing last(finish_output);

  for (int64_t i = 0; i < outer.blocks(); ++i) {  // what lies between, some columns at a time
    const int64_t first = outer.begin(i), width = outer.length(i), results = panels * width;
    // Sums are finished kLag results later (see there), those of several blocks a panel later.
    const int64_t blocks = inner.blocks(), lag = blocks > 1 ? width : kLag, places = lag + (blocks > 1 ? width : 1);
    const auto sums = [&](int64_t q) { return m.sums + q % places * kTiles; };
    const auto finish_between = [&](int64_t q) {
      const int64_t row = q / width * kPanel, column = (first + q % width) * kPanel;
      const int64_t at = row * m.between_stride + column;
      return BetweenRow<act, backward>{sums(q),
                                       m.between + q * kTiles,
                                       m.pre ? m.pre + at : nullptr,
                                       m.gradient ? m.gradient + at : nullptr,
                                       m.between_stride,
                                       m.rows - row,
                                       first_words(m.between_columns - column)};
    };
    Finishing middle(finish_between);

    // Each product brings the other's right side into L2 meanwhile (5% of the whole).
    Ahead more = ahead(m.b2.block(0, i), outputs * width * kTiles);
    const int64_t each = (kPanel + inner.steps - 1) / inner.steps;
    for (int64_t p = 0; p < panels; ++p)
      for (int64_t j = 0; j < blocks; ++j)
        for (int64_t c = 0; c < width; ++c) {
          const int64_t q = p * width + c, limit = blocks > 1 ? p * width : q - lag + 1;
          multiply_block(m.a.block(p, j), m.b1.block(first + c, j), inner.length(j), sums(q), j == 0,
                         m.bias1 ? m.bias1 + (first + c) * kPanel : nullptr, [&] {
                           middle.some(each, limit);
                           more.lines(4);
                         });
        }

    const bool end = i + 1 == outer.blocks();
    const int64_t next = end ? 0 : i + 1, rest = (kPanel + width - 1) / width;
    more = ahead(m.b1.block(outer.begin(next), 0), blocks > 1 ? 0 : outer.length(next) * inner.steps * kTiles);
    for (int64_t p = 0; p < panels; ++p) {
      middle.all((p + 1) * width);
      for (int64_t o = 0; o < outputs; ++o) {
        const int64_t q = p * outputs + o, limit = end ? q - kLag + 1 : 0;
        multiply_block(m.between + p * width * kTiles, m.b2.block(o, i), width, output(q), i == 0,
                       m.bias2 ? m.bias2 + o * kPanel : nullptr, [&] {
                         middle.some(rest, results);
                         last.some(rest, limit);
                         more.lines(4);
                       });
      }
    }
  }
  last.all(panels * outputs);
}

template <Activation act>
void chain_towards(const Chain& m) {
  m.backward ? chain_as<act, true>(m) : chain_as<act, false>(m);
}

}  // namespace

void chain(const Chain& m) {
  const TileUnit unit;
  switch (m.act) {
    case Activation::none: chain_towards<Activation::none>(m); break;
    case Activation::gelu: chain_towards<Activation::gelu>(m); break;
    case Activation::silu: chain_towards<Activation::silu>(m); break;
    case Activation::quick_gelu: chain_towards<Activation::quick_gelu>(m); break;
  }
  _mm_sfence();
}

}  // namespace uvic::cpu::amx
