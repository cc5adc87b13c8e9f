#include "kernels/cpu/simd/attention.h"
#include "kernels/cpu/simd/tiles.h"
#include "kernels/ops/attention_score.h"

// bf16 attention on AMX tiles: products of bf16 with f32 sums, everything between them in f32.
//
// A tile product of 16 x 16 x 32 takes 16 cycles, in which a core can do 16 to 32 vector operations; a score needs 4 of
// the former (D = 64) for every 256, and a dozen of the latter for every 16. So the vector operations between the
// products are what counts, and each one saved is worth about 5% of the forward pass.
namespace uvic::cpu::UVIC_ISA {
namespace {

constexpr int64_t kBlock = 32;  // query rows in forward, keys in backward: two tiles
constexpr int64_t kGroup = 6;   // blocks whose score gradients wait for one update of dq
constexpr float kLog2e = 1.44269504f, kLn2 = 0.693147181f;
#ifndef KC
#define KC 96
#endif
#ifndef KQ
#define KQ 64
#endif
constexpr int64_t kChunk = KC;
constexpr int64_t kQueries = KQ;
constexpr float kSlack = 8;
constexpr float kWide = 0x1p20f;  // scores beyond this, in powers of two, leave no digits for z c - m c

// 2^t, relative error 3e-6: a weight is rounded to 8 bits right after. Any t down to -inf.
UVIC_INLINE F32 exp2(F32 t) {
  const F32 f{_mm512_reduce_ps(t.v, 9)};  // t - floor(t)
  F32 p = fma(set(1.35341679e-2f), f, set(5.20114606e-2f));
  p = fma(p, f, set(2.41442757e-1f));
  p = fma(p, f, set(6.93003834e-1f));
  p = fma(p, f, set(1.0f));
  return {_mm512_scalef_ps(p.v, t.v)};
}

// 1 / x for 1 <= x <= 1e38, relative error 1e-7; a division would take ten times as long.
UVIC_INLINE F32 inverse(F32 x) {
  const F32 r{_mm512_rcp14_ps(x.v)};
  return fma(fnma(x, r, set(1.0f)), r, r);
}

// The natural logarithm, absolute error 2e-7 near 1: ln m = 2 artanh((m - 1) / (m + 1)) for 1 <= m < 2.
UVIC_INLINE F32 log(F32 x) {
  const F32 m{_mm512_getmant_ps(x.v, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_zero)}, exponent{_mm512_getexp_ps(x.v)};
  const F32 s = (m - set(1.0f)) / (m + set(1.0f)), s2 = s * s;
  F32 p = set(2 / 11.0f);
  for (const float c : {2 / 9.0f, 2 / 7.0f, 2 / 5.0f, 2 / 3.0f, 2.0f}) p = fma(p, s2, set(c));
  return fma(exponent, set(kLn2), p * s);
}

// The kinds of attention_score.h in fewer operations. k is multiplied by 2^kPower before the product.
struct TileSoftmax : SoftmaxScore {
  static constexpr AttentionKind kKind = AttentionKind::softmax;
  static constexpr int kPower = 0;
  static constexpr float kUnit = 1;
  static F32 highest(F32 a, F32 z) { return max(z, a); }
};

// One vrangeps gives z's sign to the lesser of |z| and u. Scores 2^64 times too large make that u for any z but 0 (or
// below 2^-64), and 0 for 0.
struct TileCog : CogScore {
  static constexpr AttentionKind kKind = AttentionKind::cog;
  static constexpr int kPower = 64;
  static constexpr float kUnit = 0x1p-64f;
  static F32 highest(F32 a, F32 z) { return {_mm512_range_ps(a.v, z.v, 0xb)}; }  // max(|a|, |z|)
  static F32 weight(F32 u, F32 z) { return {_mm512_range_ps(z.v, u.v, 0x2)}; }
};

struct TileExpressive : ExpressiveScore {
  static constexpr AttentionKind kKind = AttentionKind::expressive;
  static constexpr int kPower = 0;
  static constexpr float kUnit = 1;
  static F32 weight(F32 z) {
    const F32 square = min(z * z, 1e38f);
    return square * inverse(square + set(1.0f));
  }
};

// What turns a product into the argument of exp2, or into the score itself.
template <class Score>
float factor_of(float scale) {
  return Score::kExponential ? scale * (kLog2e * Score::kUnit) : scale;
}

struct Scratch {
  char* next;
  template <class T>
  T* take(int64_t elements) {
    T* here = reinterpret_cast<T*>(next);
    next += round_up(elements * static_cast<int64_t>(sizeof(T)), 64);
    return here;
  }
};

UVIC_INLINE void store_pair(bf16* p, F32 a, F32 b) { _mm512_storeu_si512(p, to_bf16_pair(a, b)); }

// ---- forward --------------------------------------------------------------------------------------------------------
struct ForwardScratch {
  bf16 *k, *v, *q, *p;  // K^T and V as B; a block of Q and a chunk of weights as A
  float *s, *o;         // a chunk of scores, a block's output
  int64_t bytes;
  ForwardScratch(int64_t L, int64_t D, void* memory) {
    Scratch scratch{static_cast<char*>(memory)};
    k = scratch.take<bf16>(round_up(L, 16) * round_up(D, 32));
    v = scratch.take<bf16>(round_up(L, 32) * round_up(D, 16));
    q = scratch.take<bf16>(kBlock * round_up(D, 32));
    p = scratch.take<bf16>(kBlock * kChunk);
    s = scratch.take<float>(kBlock * kChunk);
    o = scratch.take<float>(kBlock * round_up(D, 16));
    bytes = scratch.next - static_cast<char*>(memory);
  }
};

// A chunk of keys of a block of rows: the unit of work. Chunks are multiples of 32 keys but the last.
struct Chunk {
  int64_t row, rows;  // of the block
  int64_t key, keys;  // of the chunk
  bool first, last;   // of the block's
};
class Chunks {
 public:
  Chunks(int64_t L, int64_t row_begin, int64_t row_end, bool causal) : L_(L), end_(row_end), causal_(causal) {
    start(row_begin);
  }
  bool done() const { return row_ >= end_; }
  Chunk chunk() const {
    const int64_t begin = steps_ * index_ / count_ * 32, end = steps_ * (index_ + 1) / count_ * 32;
    return {row_, rows_, begin, (end < visible_ ? end : visible_) - begin, index_ == 0, index_ + 1 == count_};
  }
  void next() {
    if (++index_ == count_) start(row_ + kBlock);
  }

 private:
  void start(int64_t row) {
    row_ = row;
    rows_ = end_ - row < kBlock ? end_ - row : kBlock;
    visible_ = causal_ ? row + rows_ : L_;
    steps_ = (visible_ + 31) / 32;
    count_ = (steps_ * 32 + kChunk - 1) / kChunk;
    index_ = 0;
  }
  int64_t L_, end_;
  bool causal_;
  int64_t row_ = 0, rows_ = 0, visible_ = 0, steps_ = 0, count_ = 1, index_ = 0;
};

// Calls f(j, lanes) for the vectors of a row that hold keys.
template <class F>
UVIC_INLINE void over_vectors(int64_t keys, const F& f) {
  int64_t j = 0;
  for (; j + 16 <= keys; j += 16) f(j, 16);
  if (j < keys) f(j, keys - j);
}

// Weights p = weight(value(z), z) of a row in bf16, 0 from keys on to end, a multiple of 32. Adds the values to total.
template <class Value, class Weight>
UVIC_INLINE void weigh(const float* s, int64_t keys, int64_t end, bf16* p, F32& total, const Value& value,
                       const Weight& weight) {
  F32 total_a = total, total_b = set(0.0f);
  int64_t j = 0;
  for (; j + 32 <= keys; j += 32) {
    const F32 za = load(s + j), zb = load(s + j + 16), ua = value(za), ub = value(zb);
    total_a = total_a + ua;
    total_b = total_b + ub;
    store_pair(p + j, weight(ua, za), weight(ub, zb));
  }
  if (const int64_t left = keys - j; left > 0) {
    const F32 za = load(s + j), ua = keep(lanes_below(left < 16 ? left : 16), value(za));
    total_a = total_a + ua;
    F32 wb = set(0.0f);
    if (left > 16) {
      const F32 zb = load(s + j + 16), ub = keep(lanes_below(left - 16), value(zb));
      total_b = total_b + ub;
      wb = weight(ub, zb);
    }
    store_pair(p + j, weight(ua, za), wb);
    j += 32;
  }
  for (; j < end; j += 32) store_pair(p + j, set(0.0f), set(0.0f));
  total = total_a + total_b;
}

// What is known of a block's rows after some chunks.
struct Rows {
  alignas(64) float m[kBlock];  // weights are relative to exp(m): a magnitude, at most kSlack below the largest
  F32 totals[kBlock];           // of values, by lane
  alignas(64) float inverse_sum[kBlock];
};

// Raises m of rows whose new largest magnitude is far above it, and scales what was summed before. Rare.
void raise(const Chunk& chunk, int64_t r, F32 largest, float factor, const ForwardScratch& x, int64_t wide,
           Rows& rows) {
  alignas(64) float m[16];
  store(m, largest);
  for (int64_t n = 0; n < 16 && r + n < chunk.rows; ++n) {
    float& old = rows.m[r + n];
    if (!((m[n] - old) * factor > kSlack)) continue;
    const F32 shrink = exp2(set((old - m[n]) * factor));
    old = m[n];
    rows.totals[r + n] = rows.totals[r + n] * shrink;
    float* o = x.o + (r + n) * wide;
    for (int64_t d = 0; d < wide; d += 16) store(o + d, load(o + d) * shrink);
  }
}

// Weights of a chunk, 16 rows from r on.
template <class Score>
void weigh_rows(const AttentionHead& head, const Chunk& chunk, int64_t r, const ForwardScratch& x, Rows& rows) {
  const float factor = factor_of<Score>(head.scale);
  const F32 c = set(factor);
  const float* s = x.s + r * kChunk;
  bf16* p = x.p + r * kChunk;
  const int64_t count = chunk.rows - r < 16 ? chunk.rows - r : 16, end = round_up(chunk.keys, 32);
  const auto keys_of = [&](int64_t n) {
    const int64_t visible = chunk.row + r + n + 1 - chunk.key;
    return head.causal && visible < chunk.keys ? visible : chunk.keys;
  };
  if (chunk.first)
    for (int64_t n = 0; n < 16; ++n) rows.totals[r + n] = set(0.0f);
  if constexpr (Score::kExponential) {
    F32 highest[16];
    for (F32& h : highest) h = set(0.0f);
    for (int64_t n = 0; n < count; ++n) {
      const float* z = s + n * kChunk;
      F32 h = set(Score::kKind == AttentionKind::cog ? 0 : -__builtin_inff());
      over_vectors(keys_of(n), [&](int64_t j, int64_t lanes) {
        const F32 higher = Score::highest(h, load(z + j));
        h = lanes == 16 ? higher : select(lanes_below(lanes), higher, h);
      });
      highest[n] = h;
    }
    const F32 largest = join_lanes(highest, [](F32 a, F32 b) { return max(a, b); });
    if (chunk.first) {
      store(rows.m + r, largest);
    } else if (any(set(kSlack) < (largest - load(rows.m + r)) * c)) {
      raise(chunk, r, largest, factor, x, round_up(head.D, 16), rows);
    }
    const auto weight = [](F32 u, F32 z) { return Score::weight(u, z); };
    for (int64_t n = 0; n < count; ++n) {
      const float m = rows.m[r + n];
      if (const F32 shift = set(-m * factor); - m * factor > -kWide) {
        weigh(
            s + n * kChunk, keys_of(n), end, p + n * kChunk, rows.totals[r + n],
            [&](F32 z) { return exp2(fma(Score::magnitude(z), c, shift)); }, weight);
      } else {
        weigh(
            s + n * kChunk, keys_of(n), end, p + n * kChunk, rows.totals[r + n],
            [&](F32 z) { return exp2((Score::magnitude(z) - m) * c); }, weight);
      }
    }
  } else {
    for (int64_t n = 0; n < count; ++n) {
      weigh(
          s + n * kChunk, keys_of(n), end, p + n * kChunk, rows.totals[r + n],
          [&](F32 z) { return Score::weight(z * c); }, [](F32 f, F32) { return f; });
    }
  }
}

// After a block's last chunk: statistics, and what the output is to be multiplied by.
template <class Score>
void finish_rows(const AttentionHead& head, const Chunk& chunk, Rows& rows) {
  for (int64_t r = 0; r < chunk.rows; r += 16) {
    const F32 total = join_lanes(rows.totals + r, [](F32 a, F32 b) { return a + b; });
    F32 stat = total, inverse_sum = set(1.0f) / total;
    if constexpr (Score::kExponential) {
      stat = fma(load(rows.m + r) * factor_of<Score>(head.scale), set(kLn2), log(total));
    } else {
      inverse_sum = keep(set(__FLT_MIN__) < total, inverse_sum);
    }
    store(rows.inverse_sum + r, inverse_sum);
    if (head.stat) store(head.stat + chunk.row + r, stat, chunk.rows - r < 16 ? chunk.rows - r : 16);
  }
}

template <class Score>
void forward(const AttentionHead& head, int64_t row_begin, int64_t row_end, void* memory) {
  const TileUnit unit;
  const ForwardScratch x(head.L, head.D, memory);
  const int64_t L = head.L, D = head.D, deep = round_up(D, 32), wide = round_up(D, 16), columns = round_up(L, 16) / 16;
  pack_right_transposed<Score::kPower>(static_cast<const bf16*>(head.k), head.qkv_stride, L, D, x.k);
  pack_right(static_cast<const bf16*>(head.v), head.qkv_stride, L, D, x.v);
  Rows rows;
  for (Chunks chunks(L, row_begin, row_end, head.causal); !chunks.done(); chunks.next()) {
    const Chunk chunk = chunks.chunk();
    const int64_t tiles = (chunk.rows + 15) / 16;
    if (chunk.first)
      pack_left(static_cast<const bf16*>(head.q) + chunk.row * head.qkv_stride, head.qkv_stride, chunk.rows, D, x.q);
    multiply({tiles, (chunk.keys + 15) / 16, deep / 32, x.q, 2 * deep, x.k + chunk.key / 16 * kTileElements, columns,
              x.s, 4 * kChunk, false});
    for (int64_t r = 0; r < chunk.rows; r += 16) weigh_rows<Score>(head, chunk, r, x, rows);
    multiply({tiles, wide / 16, (chunk.keys + 31) / 32, x.p, 2 * kChunk,
              x.v + chunk.key / 32 * (wide / 16) * kTileElements, wide / 16, x.o, 4 * wide, !chunk.first});
    if (!chunk.last) continue;
    finish_rows<Score>(head, chunk, rows);
    for (int64_t r = 0; r < chunk.rows; ++r)
      unpack_row(x.o + r * wide, set(rows.inverse_sum[r]), D,
                 static_cast<bf16*>(head.o) + (chunk.row + r) * head.o_stride);
  }
}

int64_t forward_bytes(int64_t L, int64_t D) { return ForwardScratch(L, D, nullptr).bytes; }

// ---- backward -------------------------------------------------------------------------------------------------------
// Scores stand transposed here, a row for each key and queries across: then weights and score gradients come out as the
// left operands of dv = P^T dO and dk = dZ^T Q, whole sums over queries, and only dq is gathered over blocks of keys.
struct BackwardScratch {
  bf16 *k, *v, *kt;                 // A: K, V [keys, D] and K^T [D, keys]
  bf16 *qt, *grad_ot, *q, *grad_o;  // B: Q^T, dO^T and Q, dO
  bf16 *p, *dz;                     // A: P^T and dZ^T of a chunk
  bf16* dz_right;                   // B: dZ^T of a group of blocks
  float *s, *g;                     // Z^T and dP^T of a chunk
  float *dv, *dk, *dqt;             // of a block, of a block, dq^T
  float *shift, *delta;             // of each query
  int64_t bytes;
  BackwardScratch(int64_t L, int64_t D, void* memory) {
    const int64_t rows = round_up(L, 32), deep = round_up(D, 32), wide = round_up(D, 16);
    Scratch scratch{static_cast<char*>(memory)};
    for (bf16** operand : {&k, &v, &kt, &qt, &grad_ot, &q, &grad_o}) *operand = scratch.take<bf16>(rows * deep);
    for (bf16** chunk : {&p, &dz}) *chunk = scratch.take<bf16>(kBlock * kQueries);
    for (float** chunk : {&s, &g}) *chunk = scratch.take<float>(kBlock * kQueries);
    for (float** block : {&dv, &dk}) *block = scratch.take<float>(kBlock * wide);
    dz_right = scratch.take<bf16>(kGroup * kBlock * rows);
    dqt = scratch.take<float>(wide * rows);
    for (float** row : {&shift, &delta}) *row = scratch.take<float>(rows);
    bytes = scratch.next - static_cast<char*>(memory);
  }
};

// What each query brings to its column: delta, and log2 of the sum of exponentials or the inverse of the sum. False if
// a row's scores are too wide for exp2(z c - shift).
template <class Score>
bool prepare_queries(const AttentionHead& head, const BackwardScratch& x) {
  bool tame = true;
  for (int64_t i = 0; i < head.L; i += 16) {
    F32 totals[16];
    const int64_t rows = head.L - i < 16 ? head.L - i : 16;
    for (int64_t r = 0; r < 16; ++r) totals[r] = set(0.0f);
    for (int64_t d = 0; d < head.D; d += 32) {
      const Columns o(static_cast<const bf16*>(head.o), head.o_stride, head.L, head.D, d);
      const Columns grad_o(static_cast<const bf16*>(head.grad_o), head.o_stride, head.L, head.D, d);
      for (int64_t r = 0; r < rows; ++r)
        totals[r].v = _mm512_dpbf16_ps(totals[r].v, reinterpret_cast<__m512bh>(o.row(i + r)),
                                       reinterpret_cast<__m512bh>(grad_o.row(i + r)));
    }
    store(x.delta + i, join_lanes(totals, [](F32 a, F32 b) { return a + b; }));
    const F32 stat = load(head.stat + i, rows);
    if constexpr (Score::kExponential) {
      store(x.shift + i, stat * kLog2e);
      tame = tame && !any(set(kWide) < abs(stat * kLog2e));
    } else {
      store(x.shift + i, select(stat < set(__FLT_MIN__), set(0.0f), set(1.0f) / stat));
    }
  }
  return tame;
}

struct Derived {
  F32 w, dz;
};
template <class Score>
UVIC_INLINE Derived derive(F32 z, F32 g, F32 shift, F32 delta, F32 c) {
  if constexpr (Score::kExponential) {
    const F32 u = exp2(fma(Score::magnitude(z), c, -shift));
    const F32 w = Score::weight(u, z);
    return {w, Score::gradient(w, g, delta)};
  } else {
    const F32 y = z * c, square = min(y * y, 1e38f), r = inverse(square + set(1.0f)), share = r * shift;
    return {square * share, (g - delta) * (y + y) * (share * r)};
  }
}

// Two keys of a block, some queries: z and g into p, dz (rows of A) and dz_right (a row of B in each tile).
struct DeriveRows {
  int64_t key, query, queries;  // the first of each; queries is a multiple of 16
  const float *z, *g;           // rows kQueries apart
  bf16 *p, *dz, *dz_right;
};
template <class Score>
void derive_keys(const AttentionHead& head, const BackwardScratch& x, const DeriveRows& rows) {
  const F32 c = set(factor_of<Score>(head.scale));
  for (int64_t i = 0; i < rows.queries; i += 32) {
    const float *shift = x.shift + rows.query + i, *delta = x.delta + rows.query + i;
    __m512i dz[2];
    for (int64_t n = 0; n < 2; ++n) {
      const float *z = rows.z + n * kQueries + i, *g = rows.g + n * kQueries + i;
      Derived a = derive<Score>(load(z), load(g), load(shift), load(delta), c), b{set(0.0f), set(0.0f)};
      if (i + 16 < rows.queries) b = derive<Score>(load(z + 16), load(g + 16), load(shift + 16), load(delta + 16), c);
      if (const int64_t hidden = rows.key + n - rows.query - i; head.causal && hidden > 0) {  // queries before the key
        const Mask hidden_a = lanes_below(hidden < 16 ? hidden : 16);
        const Mask hidden_b = lanes_below(hidden < 16 ? 0 : hidden < 32 ? hidden - 16 : 16);
        a = {select(hidden_a, set(0.0f), a.w), select(hidden_a, set(0.0f), a.dz)};
        b = {select(hidden_b, set(0.0f), b.w), select(hidden_b, set(0.0f), b.dz)};
      }
      store_pair(rows.p + n * kQueries + i, a.w, b.w);
      dz[n] = to_bf16_pair(a.dz, b.dz);
      _mm512_storeu_si512(rows.dz + n * kQueries + i, dz[n]);
    }
    // Pairs of keys, with queries in the order the unpacks leave them in: see query_of.
    bf16* tile = rows.dz_right + i / 16 * kTileElements;
    _mm512_storeu_si512(tile, _mm512_unpacklo_epi16(dz[0], dz[1]));
    _mm512_storeu_si512(tile + kTileElements, _mm512_unpackhi_epi16(dz[0], dz[1]));
  }
}

// dq^T with its columns in the order of derive_keys: of 32 queries, the first tile has 0-3, 8-11, 16-19 and 24-27.
void write_dq(const AttentionHead& head, const BackwardScratch& x) {
  const int64_t pitch = round_up(head.L, 32);
  const F32 factor = set(head.scale);
  for (int64_t n = 0; n < pitch; n += 16) {
    for (int64_t d = 0; d < head.D; d += 32) {
      __m512i a[16], b[16];
      for (int64_t i = 0; i < 16; ++i) {
        a[i] = _mm512_loadu_si512(x.dqt + (d + i) * pitch + n);
        b[i] = d + 16 < head.D ? _mm512_loadu_si512(x.dqt + (d + 16 + i) * pitch + n) : _mm512_setzero_si512();
      }
      transpose16(a);
      transpose16(b);
      const auto mask = _bzhi_u32(0xffffffffu, static_cast<unsigned>(head.D - d < 32 ? head.D - d : 32));
      for (int64_t r = 0; r < 16; ++r) {
        const int64_t query = (n & ~31) + r / 4 * 8 + r % 4 + (n & 16) / 4;
        if (query >= head.L) continue;
        const F32 lo{_mm512_castsi512_ps(a[r])}, hi{_mm512_castsi512_ps(b[r])};
        _mm512_mask_storeu_epi16(static_cast<bf16*>(head.dq) + query * head.qkv_stride + d, mask,
                                 to_bf16_pair(lo * factor, hi * factor));
      }
    }
  }
}

// dv and dk of one block of keys, and its dz_right.
template <class Score>
void derive_block(const AttentionHead& head, const BackwardScratch& x, int64_t key, bf16* dz_right) {
  const int64_t L = head.L, deep = round_up(head.D, 32), wide = round_up(head.D, 16), columns = round_up(L, 16) / 16;
  const int64_t keys = L - key < kBlock ? L - key : kBlock, tiles = (keys + 15) / 16;
  const int64_t begin = head.causal ? key : 0, steps = (L - begin + 31) / 32,
                chunks = (steps * 32 + kQueries - 1) / kQueries;
  // Tiles of queries that see no key of the block, and rows of missing keys: these must not meet K^T's zeros as NaN.
  const int64_t clear = keys < kBlock ? round_up(L, 32) : begin;
  __builtin_memset(dz_right, 0, static_cast<size_t>(clear / 16 * kTileElements) * sizeof(bf16));
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const int64_t i = begin + steps * chunk / chunks * 32, end = begin + steps * (chunk + 1) / chunks * 32;
    const int64_t queries = (end < round_up(L, 16) ? end : round_up(L, 16)) - i;
    const auto multiply_scores = [&](const bf16* left, const bf16* right, float* to) {
      multiply({tiles, queries / 16, deep / 32, left + key * deep, 2 * deep, right + i / 16 * kTileElements, columns,
                to, 4 * kQueries, false});
    };
    multiply_scores(x.k, x.qt, x.s);
    multiply_scores(x.v, x.grad_ot, x.g);
    for (int64_t r = 0; r < keys; r += 2) {
      const int64_t at = r * kQueries;
      derive_keys<Score>(
          head, x,
          {key + r, i, queries, x.s + at, x.g + at, x.p + at, x.dz + at, dz_right + i / 16 * kTileElements + 16 * r});
    }
    const auto add_sums = [&](const bf16* left, const bf16* right, float* to) {
      multiply({tiles, wide / 16, (end - i) / 32, left, 2 * kQueries, right + i / 32 * (wide / 16) * kTileElements,
                wide / 16, to, 4 * wide, chunk > 0});
    };
    add_sums(x.p, x.grad_o, x.dv);
    add_sums(x.dz, x.q, x.dk);
  }
  for (int64_t r = 0; r < keys; ++r) {
    const int64_t at = (key + r) * head.qkv_stride;
    unpack_row(x.dv + r * wide, set(1.0f), head.D, static_cast<bf16*>(head.dv) + at);
    unpack_row(x.dk + r * wide, set(head.scale), head.D, static_cast<bf16*>(head.dk) + at);
  }
}

template <class Score>
void backward(const AttentionHead& head, void* memory) {
  const BackwardScratch x(head.L, head.D, memory);
  if (!prepare_queries<Score>(head, x))
    return avx512::attention_kernels.bf16[static_cast<int>(Score::kKind)].backward(head, memory);
  const TileUnit unit;
  const int64_t L = head.L, D = head.D, wide = round_up(D, 16), pitch = round_up(L, 32);
  const auto *q = static_cast<const bf16*>(head.q), *grad_o = static_cast<const bf16*>(head.grad_o);
  pack_left(static_cast<const bf16*>(head.k), head.qkv_stride, L, D, x.k);
  pack_left(static_cast<const bf16*>(head.v), head.qkv_stride, L, D, x.v);
  pack_left_transposed(static_cast<const bf16*>(head.k), head.qkv_stride, L, D, x.kt);
  pack_right_transposed<Score::kPower>(q, head.qkv_stride, L, D, x.qt);
  pack_right_transposed(grad_o, head.o_stride, L, D, x.grad_ot);
  pack_right(q, head.qkv_stride, L, D, x.q);
  pack_right(grad_o, head.o_stride, L, D, x.grad_o);
  const int64_t blocks = pitch / kBlock, groups = (blocks + kGroup - 1) / kGroup;
  for (int64_t group = 0; group < groups; ++group) {
    const int64_t begin = blocks * group / groups, end = blocks * (group + 1) / groups;
    for (int64_t block = begin; block < end; ++block)
      derive_block<Score>(head, x, block * kBlock, x.dz_right + (block - begin) * (pitch / 16) * kTileElements);
    multiply({wide / 16, pitch / 16, end - begin, x.kt + begin * kBlock, 2 * pitch, x.dz_right, pitch / 16, x.dqt,
              4 * pitch, group > 0});
  }
  write_dq(head, x);
}

int64_t backward_bytes(int64_t L, int64_t D) {
  const int64_t own = BackwardScratch(L, D, nullptr).bytes, fallback = avx512::attention_kernels.backward_bytes(L, D);
  return own > fallback ? own : fallback;
}

template <class Score>
constexpr AttentionPasses passes = {forward<Score>, backward<Score>};

}  // namespace

const AttentionKernels attention_kernels = {
    kBlock, forward_bytes, backward_bytes, {}, {passes<TileSoftmax>, passes<TileCog>, passes<TileExpressive>},
};

}  // namespace uvic::cpu::UVIC_ISA
