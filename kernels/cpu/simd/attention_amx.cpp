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
  static F32 highest(F32 a, F32 z) { return max(z, a); }
};

// One vrangeps gives z's sign to the lesser of |z| and u. Scores 2^64 times too large make that u for any z but 0 (or
// below 2^-64), and 0 for 0.
struct TileCog : CogScore {
  static constexpr AttentionKind kKind = AttentionKind::cog;
  static constexpr int kPower = 64;
  static F32 highest(F32 a, F32 z) { return {_mm512_range_ps(a.v, z.v, 0xb)}; }  // max(|a|, |z|)
  static F32 weight(F32 u, F32 z) { return {_mm512_range_ps(z.v, u.v, 0x2)}; }
};

struct TileExpressive : ExpressiveScore {
  static constexpr AttentionKind kKind = AttentionKind::expressive;
  static constexpr int kPower = 0;
  static F32 weight(F32 z) {
    const F32 square = min(z * z, 1e38f);
    return square * inverse(square + set(1.0f));
  }
};

// What turns a product into the argument of exp2, or into the score itself.
template <class Score>
float factor_of(float scale) {
  return Score::kExponential ? __builtin_ldexpf(scale * kLog2e, -Score::kPower) : scale;
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

UVIC_INLINE void store_pair(bf16* p, F32 a, F32 b) {
  _mm512_storeu_si512(p, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(b.v, a.v)));
}

// ---- forward --------------------------------------------------------------------------------------------------------
struct ForwardScratch {
  bf16 *k, *v, *q, *p[2];  // K^T and V as B; a block of Q and two of weights as A
  float *s[2], *o;
  int64_t bytes;
  ForwardScratch(int64_t L, int64_t D, void* memory) {
    Scratch scratch{static_cast<char*>(memory)};
    k = scratch.take<bf16>(round_up(L, 16) * round_up(D, 32));
    v = scratch.take<bf16>(round_up(L, 32) * round_up(D, 16));
    q = scratch.take<bf16>(kBlock * round_up(D, 32));
    for (bf16*& block : p) block = scratch.take<bf16>(kBlock * round_up(L, 32));
    for (float*& block : s) block = scratch.take<float>(kBlock * round_up(L, 16));
    o = scratch.take<float>(kBlock * round_up(D, 16));
    bytes = scratch.next - static_cast<char*>(memory);
  }
};

// Calls f(j, lanes) for the vectors of a row that hold keys.
template <class F>
UVIC_INLINE void over_vectors(int64_t keys, const F& f) {
  int64_t j = 0;
  for (; j + 16 <= keys; j += 16) f(j, 16);
  if (j < keys) f(j, keys - j);
}

// Weights p = weight(value(z), z) of a row in bf16, 0 from keys to the next multiple of 32. Returns the lanes' sums of
// value, in f32.
template <class Value, class Weight>
UVIC_INLINE F32 weigh(const float* s, int64_t keys, bf16* p, const Value& value, const Weight& weight) {
  F32 total = set(0.0f), total_b = set(0.0f);
  int64_t j = 0;
  for (; j + 32 <= keys; j += 32) {
    const F32 za = load(s + j), zb = load(s + j + 16), ua = value(za), ub = value(zb);
    total = total + ua;
    total_b = total_b + ub;
    store_pair(p + j, weight(ua, za), weight(ub, zb));
  }
  if (const int64_t left = keys - j; left > 0) {
    const F32 za = load(s + j), ua = keep(lanes_below(left < 16 ? left : 16), value(za));
    total = total + ua;
    F32 wb = set(0.0f);
    if (left > 16) {
      const F32 zb = load(s + j + 16), ub = keep(lanes_below(left - 16), value(zb));
      total_b = total_b + ub;
      wb = weight(ub, zb);
    }
    store_pair(p + j, weight(ua, za), wb);
  }
  return total + total_b;
}

// Weights of up to 16 rows, with a tick of the queue for each. Returns the inverse of their sums; lanes are rows.
template <class Score>
F32 weigh_rows(const AttentionHead& head, int64_t row, int64_t rows, const float* s, int64_t s_pitch, bf16* p,
               int64_t p_pitch, TileQueue& queue, F32* stat) {
  const float factor = factor_of<Score>(head.scale);
  const F32 c = set(factor);
  const auto keys_of = [&](int64_t r) { return head.causal ? row + r + 1 : head.L; };
  const auto join_sum = [](F32 a, F32 b) { return a + b; };
  F32 totals[16];
  for (F32& total : totals) total = set(1.0f);
  if constexpr (Score::kExponential) {
    F32 highest[16];
    for (F32& h : highest) h = set(0.0f);
    for (int64_t r = 0; r < rows; ++r) {
      const float* z = s + r * s_pitch;
      F32 h = set(Score::kKind == AttentionKind::cog ? 0 : -__builtin_inff());
      over_vectors(keys_of(r), [&](int64_t j, int64_t lanes) {
        const F32 higher = Score::highest(h, load(z + j));
        h = lanes == 16 ? higher : select(lanes_below(lanes), higher, h);
      });
      highest[r] = h;
    }
    alignas(64) float m[16];
    const F32 largest = join_lanes(highest, [](F32 a, F32 b) { return max(a, b); });
    store(m, largest);
    const auto weight = [](F32 u, F32 z) { return Score::weight(u, z); };
    for (int64_t r = 0; r < rows; ++r) {
      queue.tick();
      const float* z = s + r * s_pitch;
      if (const F32 shift = set(-m[r] * factor); - m[r] * factor > -kWide) {
        totals[r] = weigh(
            z, keys_of(r), p + r * p_pitch, [&](F32 x) { return exp2(fma(Score::magnitude(x), c, shift)); }, weight);
      } else {
        totals[r] = weigh(
            z, keys_of(r), p + r * p_pitch, [&](F32 x) { return exp2((Score::magnitude(x) - m[r]) * c); }, weight);
      }
    }
    const F32 total = join_lanes(totals, join_sum);
    *stat = fma(largest * c, set(kLn2), log(total));
    return set(1.0f) / total;
  } else {
    for (int64_t r = 0; r < rows; ++r) {
      queue.tick();
      totals[r] = weigh(
          s + r * s_pitch, keys_of(r), p + r * p_pitch, [&](F32 z) { return Score::weight(z * c); },
          [](F32 f, F32) { return f; });
    }
    const F32 total = join_lanes(totals, join_sum);
    *stat = total;
    return keep(set(__FLT_MIN__) < total, set(1.0f) / total);
  }
}

// While the weights of one block of rows are made, the tile unit makes the scores of the next and the output of the
// last.
template <class Score>
void forward(const AttentionHead& head, int64_t row_begin, int64_t row_end, void* memory) {
  const TileUnit unit;
  TileQueue queue;
  const ForwardScratch x(head.L, head.D, memory);
  const int64_t L = head.L, D = head.D, deep = round_up(D, 32), wide = round_up(D, 16);
  const int64_t s_pitch = round_up(L, 16), p_pitch = round_up(L, 32);
  alignas(64) float inverse_sum[2][kBlock];
  const auto rows_from = [&](int64_t i) { return row_end - i < kBlock ? row_end - i : kBlock; };
  const auto keys_of_block = [&](int64_t i) { return head.causal ? i + rows_from(i) : L; };
  const auto push_scores = [&](int64_t i, int side) {
    const int64_t rows = rows_from(i), keys = keys_of_block(i);
    pack_left(static_cast<const bf16*>(head.q) + i * head.qkv_stride, head.qkv_stride, rows, D, x.q);
    queue.push({(rows + 15) / 16, (keys + 15) / 16, deep / 32, x.q, 2 * deep, x.k, s_pitch / 16, x.s[side], 4 * s_pitch,
                false});
  };
  const auto push_output = [&](int64_t i, int side) {
    const int64_t rows = rows_from(i), keys = keys_of_block(i);
    queue.push(
        {(rows + 15) / 16, wide / 16, (keys + 31) / 32, x.p[side], 2 * p_pitch, x.v, wide / 16, x.o, 4 * wide, false});
  };
  const auto write_output = [&](int64_t i, int side) {
    for (int64_t r = 0; r < rows_from(i); ++r)
      unpack_row(x.o + r * wide, set(inverse_sum[side][r]), D, static_cast<bf16*>(head.o) + (i + r) * head.o_stride);
  };

  pack_right_transposed<Score::kPower>(static_cast<const bf16*>(head.k), head.qkv_stride, L, D, x.k);
  pack_right(static_cast<const bf16*>(head.v), head.qkv_stride, L, D, x.v);
  push_scores(row_begin, 0);
  queue.finish();
  int side = 0;  // of the buffers of this block
  for (int64_t i = row_begin; i < row_end; i += kBlock, side = 1 - side) {
    if (i + kBlock < row_end) push_scores(i + kBlock, 1 - side);
    if (i > row_begin) push_output(i - kBlock, 1 - side);
    const int64_t rows = rows_from(i);
    queue.spread(rows);
    for (int64_t r = 0; r < rows; r += 16) {
      F32 stat;
      const int64_t some = rows - r < 16 ? rows - r : 16;
      store(inverse_sum[side] + r, weigh_rows<Score>(head, i + r, some, x.s[side] + r * s_pitch, s_pitch,
                                                     x.p[side] + r * p_pitch, p_pitch, queue, &stat));
      if (head.stat) store(head.stat + i + r, stat, some);
    }
    for (int64_t r = 0; head.causal && r < rows; ++r)
      for (int64_t j = round_up(i + r + 1, 32); j < keys_of_block(i); j += 32)
        _mm512_storeu_si512(x.p[side] + r * p_pitch + j, _mm512_setzero_si512());
    queue.finish();
    if (i > row_begin) write_output(i - kBlock, 1 - side);
  }
  const int64_t last = row_begin + (row_end - row_begin - 1) / kBlock * kBlock;
  push_output(last, 1 - side);
  queue.finish();
  write_output(last, 1 - side);
}

int64_t forward_bytes(int64_t L, int64_t D) { return ForwardScratch(L, D, nullptr).bytes; }

// ---- backward -------------------------------------------------------------------------------------------------------
// Scores stand transposed here, a row for each key and queries across: then weights and score gradients come out as the
// left operands of dv = P^T dO and dk = dZ^T Q, whole sums over queries, and only dq is gathered over blocks of keys.
struct BackwardScratch {
  bf16 *k, *v, *kt;                 // A: K, V [keys, D] and K^T [D, keys]
  bf16 *qt, *grad_ot, *q, *grad_o;  // B: Q^T, dO^T and Q, dO
  bf16 *p[2], *dz[2];               // A: P^T and dZ^T of two blocks of keys
  bf16* dz_right[2];                // B: dZ^T of two groups of blocks
  float *s[2], *g[2];               // Z^T, dP^T of two blocks
  float *dv, *dk, *dqt;             // of a block, of a block, dq^T
  float *shift, *delta;             // of each query
  int64_t bytes;
  BackwardScratch(int64_t L, int64_t D, void* memory) {
    const int64_t rows = round_up(L, 32), deep = round_up(D, 32), wide = round_up(D, 16);
    Scratch scratch{static_cast<char*>(memory)};
    for (bf16** left : {&k, &v, &kt, &qt, &grad_ot, &q, &grad_o}) *left = scratch.take<bf16>(rows * deep);
    for (int side = 0; side < 2; ++side) {
      for (bf16** block : {&p[side], &dz[side]}) *block = scratch.take<bf16>(kBlock * rows);
      for (float** block : {&s[side], &g[side]}) *block = scratch.take<float>(kBlock * rows);
      dz_right[side] = scratch.take<bf16>(kGroup * kBlock * rows);
    }
    for (float** block : {&dv, &dk}) *block = scratch.take<float>(kBlock * wide);
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
  for (int64_t i = 0; i < round_up(head.L, 32); ++i) {
    x.shift[i] = x.delta[i] = 0;
    if (i >= head.L) continue;
    const float stat = head.stat[i];
    x.shift[i] = Score::kExponential ? stat * kLog2e : stat >= __FLT_MIN__ ? 1 / stat : 0;
    tame = tame && (!Score::kExponential || __builtin_fabsf(x.shift[i]) < kWide);
    const bf16* o = static_cast<const bf16*>(head.o) + i * head.o_stride;
    const bf16* grad_o = static_cast<const bf16*>(head.grad_o) + i * head.o_stride;
    F32 total = set(0.0f);
    int64_t d = 0;
    for (; d + 16 <= head.D; d += 16) total = fma(load(o + d), load(grad_o + d), total);
    if (d < head.D) total = fma(load(o + d, head.D - d), load(grad_o + d, head.D - d), total);
    x.delta[i] = sum(total);
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

// Two keys of a block, all queries from first on: z and g into p, dz (rows of A) and dz_right (a row of B in each
// tile).
struct DeriveRows {
  const float *z, *g;  // rows pitch apart
  bf16 *p, *dz, *dz_right;
  int64_t pitch;
};
template <class Score>
void derive_keys(const AttentionHead& head, const BackwardScratch& x, const DeriveRows& rows, int64_t key,
                 int64_t first, TileQueue& queue) {
  const int64_t queries = round_up(head.L, 16), pitch = rows.pitch;
  const F32 c = set(factor_of<Score>(head.scale));
  for (int64_t i = first; i < queries; i += 32) {
    queue.tick();
    __m512i dz[2];
    for (int64_t n = 0; n < 2; ++n) {
      const float *z = rows.z + n * pitch + i, *g = rows.g + n * pitch + i;
      Derived a = derive<Score>(load(z), load(g), load(x.shift + i), load(x.delta + i), c), b{set(0.0f), set(0.0f)};
      if (i + 16 < queries)
        b = derive<Score>(load(z + 16), load(g + 16), load(x.shift + i + 16), load(x.delta + i + 16), c);
      if (head.causal && i < key + n) {  // queries before the key do not see it
        const Mask hidden_a = lanes_below(key + n - i < 16 ? key + n - i : 16);
        const Mask hidden_b = lanes_below(key + n - i < 16 ? 0 : key + n - i < 32 ? key + n - i - 16 : 16);
        a = {select(hidden_a, set(0.0f), a.w), select(hidden_a, set(0.0f), a.dz)};
        b = {select(hidden_b, set(0.0f), b.w), select(hidden_b, set(0.0f), b.dz)};
      }
      store_pair(rows.p + n * pitch + i, a.w, b.w);
      dz[n] = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(b.dz.v, a.dz.v));
      _mm512_storeu_si512(rows.dz + n * pitch + i, dz[n]);
    }
    // Pairs of keys, with queries in the order the unpacks leave them in: see query_of.
    bf16* tile = rows.dz_right + i / 16 * kTileElements;
    _mm512_storeu_si512(tile, _mm512_unpacklo_epi16(dz[0], dz[1]));
    _mm512_storeu_si512(tile + kTileElements, _mm512_unpackhi_epi16(dz[0], dz[1]));
  }
}

// The query in column n of dq^T.
UVIC_INLINE int64_t query_of(int64_t n) { return (n & ~31) + ((n & 12) << 1) + ((n & 16) >> 2) + (n & 3); }

void write_dq(const AttentionHead& head, const BackwardScratch& x) {
  const int64_t wide = round_up(head.D, 16), pitch = round_up(head.L, 32);
  for (int64_t n = 0; n < pitch; n += 16) {
    transpose(x.dqt + n, pitch, wide, 16, x.dv, wide);
    for (int64_t r = 0; r < 16; ++r)
      if (const int64_t i = query_of(n + r); i < head.L)
        unpack_row(x.dv + r * wide, set(head.scale), head.D, static_cast<bf16*>(head.dq) + i * head.qkv_stride);
  }
}

// While the score gradients of one block of keys are made, the tile unit makes the scores of the next, dv and dk of the
// last, and dq from the last group.
template <class Score>
void backward(const AttentionHead& head, void* memory) {
  const BackwardScratch x(head.L, head.D, memory);
  if (!prepare_queries<Score>(head, x))
    return avx512::attention_kernels.bf16[static_cast<int>(Score::kKind)].backward(head, memory);
  const TileUnit unit;
  TileQueue queue;
  const int64_t L = head.L, D = head.D, deep = round_up(D, 32), wide = round_up(D, 16), pitch = round_up(L, 32);
  const int64_t columns = round_up(L, 16) / 16, blocks = pitch / kBlock, groups = (blocks + kGroup - 1) / kGroup;
  const auto keys_of_block = [&](int64_t block) { return L - block * kBlock < kBlock ? L - block * kBlock : kBlock; };
  const auto tiles_of_block = [&](int64_t block) { return (keys_of_block(block) + 15) / 16; };
  const auto first_query = [&](int64_t block) { return head.causal ? block * kBlock : 0; };
  const auto group_begin = [&](int64_t group) { return blocks * group / groups; };

  const auto push_scores = [&](int64_t block) {
    const int64_t first = first_query(block), skip = first / 16;
    const auto push = [&](const bf16* left, const bf16* right, float* to) {
      queue.push({tiles_of_block(block), columns - skip, deep / 32, left + block * kBlock * deep, 2 * deep,
                  right + skip * kTileElements, columns, to + first, 4 * pitch, false});
    };
    push(x.k, x.qt, x.s[block % 2]);
    push(x.v, x.grad_ot, x.g[block % 2]);
  };
  const auto push_sums = [&](int64_t block) {
    const int64_t first = first_query(block);
    const auto push = [&](const bf16* left, const bf16* right, float* to) {
      queue.push({tiles_of_block(block), wide / 16, (pitch - first) / 32, left + first, 2 * pitch,
                  right + first / 32 * (wide / 16) * kTileElements, wide / 16, to, 4 * wide, false});
    };
    push(x.p[block % 2], x.grad_o, x.dv);
    push(x.dz[block % 2], x.q, x.dk);
  };
  const auto push_dq = [&](int64_t group) {
    const int64_t begin = group_begin(group), end = group_begin(group + 1);
    queue.push({wide / 16, pitch / 16, end - begin, x.kt + begin * kBlock, 2 * pitch, x.dz_right[group % 2], pitch / 16,
                x.dqt, 4 * pitch, group > 0});
  };
  const auto write_sums = [&](int64_t block) {
    for (int64_t r = 0; r < keys_of_block(block); ++r) {
      const int64_t at = (block * kBlock + r) * head.qkv_stride;
      unpack_row(x.dv + r * wide, set(1.0f), D, static_cast<bf16*>(head.dv) + at);
      unpack_row(x.dk + r * wide, set(head.scale), D, static_cast<bf16*>(head.dk) + at);
    }
  };

  const auto *q = static_cast<const bf16*>(head.q), *grad_o = static_cast<const bf16*>(head.grad_o);
  pack_left(static_cast<const bf16*>(head.k), head.qkv_stride, L, D, x.k);
  pack_left(static_cast<const bf16*>(head.v), head.qkv_stride, L, D, x.v);
  pack_left_transposed(static_cast<const bf16*>(head.k), head.qkv_stride, L, D, x.kt);
  pack_right_transposed<Score::kPower>(q, head.qkv_stride, L, D, x.qt);
  pack_right_transposed(grad_o, head.o_stride, L, D, x.grad_ot);
  pack_right(q, head.qkv_stride, L, D, x.q);
  pack_right(grad_o, head.o_stride, L, D, x.grad_o);
  push_scores(0);
  queue.finish();
  for (int64_t block = 0, group = 0; block < blocks; ++block) {
    if (block == group_begin(group + 1)) push_dq(group++);
    if (block > 0) push_sums(block - 1);
    if (block + 1 < blocks) push_scores(block + 1);
    const int64_t first = first_query(block), keys = keys_of_block(block);
    bf16* right = x.dz_right[group % 2] + (block - group_begin(group)) * (pitch / 16) * kTileElements;
    // Tiles of queries that see no key of the block, and rows of missing keys: these must not meet K^T's zeros as NaN.
    const int64_t clear = keys < kBlock ? pitch / 16 : first / 16;
    __builtin_memset(right, 0, static_cast<size_t>(clear * kTileElements) * sizeof(bf16));
    queue.spread((keys + 1) / 2 * ((columns - first / 16 + 1) / 2));
    for (int64_t r = 0; r < keys; r += 2) {
      const int64_t at = r * pitch;
      derive_keys<Score>(
          head, x,
          {x.s[block % 2] + at, x.g[block % 2] + at, x.p[block % 2] + at, x.dz[block % 2] + at, right + 16 * r, pitch},
          block * kBlock + r, first, queue);
    }
    queue.finish();
    if (block > 0) write_sums(block - 1);
  }
  push_dq(groups - 1);
  push_sums(blocks - 1);
  queue.finish();
  write_sums(blocks - 1);
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
