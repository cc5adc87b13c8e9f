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

// The kinds of attention_score.h in fewer operations. kPower multiplies q before the product.
struct TileSoftmax : SoftmaxScore {
  static constexpr AttentionKind kKind = AttentionKind::softmax;
  static constexpr float kPower = 1;
  static F32 highest(F32 a, F32 z) { return max(z, a); }
};

// One vrangeps gives z's sign to the lesser of |z| and u. Scores 2^64 times too large make that u for any z but 0 (or
// below 2^-64), and 0 for 0.
struct TileCog : CogScore {
  static constexpr AttentionKind kKind = AttentionKind::cog;
  static constexpr float kPower = 0x1p64f;
  static F32 highest(F32 a, F32 z) { return {_mm512_range_ps(a.v, z.v, 0xb)}; }  // max(|a|, |z|)
  static F32 weight(F32 u, F32 z) { return {_mm512_range_ps(z.v, u.v, 0x2)}; }
};

struct TileExpressive : ExpressiveScore {
  static constexpr AttentionKind kKind = AttentionKind::expressive;
  static constexpr float kPower = 1;
  static F32 weight(F32 z) {
    const F32 square = min(z * z, 1e38f);
    return square * inverse(square + set(1.0f));
  }
};

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
  bf16 *k, *v, *q, *p;  // K^T and V as B; a block of Q and of weights as A
  float *s, *o;
  int64_t bytes;
  ForwardScratch(int64_t L, int64_t D, void* memory) {
    Scratch scratch{static_cast<char*>(memory)};
    k = scratch.take<bf16>(round_up(L, 16) * round_up(D, 32));
    v = scratch.take<bf16>(round_up(L, 32) * round_up(D, 16));
    q = scratch.take<bf16>(kBlock * round_up(D, 32));
    p = scratch.take<bf16>(kBlock * round_up(L, 32));
    s = scratch.take<float>(kBlock * round_up(L, 16));
    o = scratch.take<float>(kBlock * round_up(D, 16));
    bytes = scratch.next - static_cast<char*>(memory);
  }
};

// Calls f(j, first, second) for each 32 keys of a row: the lanes of both vectors that hold keys.
template <class F>
UVIC_INLINE void over_pairs(int64_t keys, const F& f) {
  int64_t j = 0;
  for (; j + 32 <= keys; j += 32) f(j, 16, 16);
  if (j < keys) f(j, keys - j < 16 ? keys - j : 16, keys - j < 16 ? 0 : keys - j - 16);
}

// Weights p = weight(value(z), z) of a row, in bf16, and the sum of values in f32.
template <class Value, class Weight>
UVIC_INLINE float weigh(const float* s, int64_t keys, bf16* p, const Value& value, const Weight& weight) {
  F32 total_a = set(0.0f), total_b = set(0.0f);
  over_pairs(keys, [&](int64_t j, int64_t first, int64_t second) {
    const F32 za = load(s + j), zb = second == 16 ? load(s + j + 16) : load(s + j + 16, second);
    F32 ua = value(za), ub = value(zb);
    if (first < 16) ua = keep(lanes_below(first), ua);
    if (second < 16) ub = keep(lanes_below(second), ub);
    total_a = total_a + ua;
    total_b = total_b + ub;
    store_pair(p + j, weight(ua, za), weight(ub, zb));
  });
  return sum(total_a + total_b);
}

template <class Score>
float weigh_row(const float* s, int64_t keys, bf16* p, float scale, float* stat) {
  if constexpr (Score::kExponential) {
    const float c = scale * kLog2e / Score::kPower;
    F32 highest_a = set(Score::kKind == AttentionKind::cog ? 0 : -__builtin_inff()), highest_b = highest_a;
    over_pairs(keys, [&](int64_t j, int64_t first, int64_t second) {
      const F32 a = load(s + j), b = load(s + j + 16, second);
      highest_a = first == 16 ? Score::highest(highest_a, a)
                              : select(lanes_below(first), Score::highest(highest_a, a), highest_a);
      highest_b = second == 16 ? Score::highest(highest_b, b)
                               : select(lanes_below(second), Score::highest(highest_b, b), highest_b);
    });
    const float m = max_of(max(highest_a, highest_b)), mc = m * c;
    const auto weight = [](F32 u, F32 z) { return Score::weight(u, z); };
    float total;
    if (mc < kWide) {
      const F32 shift = set(-mc), factor = set(c);
      total = weigh(
          s, keys, p, [&](F32 z) { return exp2(fma(Score::magnitude(z), factor, shift)); }, weight);
    } else {
      total = weigh(
          s, keys, p, [&](F32 z) { return exp2((Score::magnitude(z) - m) * c); }, weight);
    }
    if (stat) *stat = mc * kLn2 + __builtin_logf(total);
    return 1 / total;
  } else {
    const float total = weigh(
        s, keys, p, [&](F32 z) { return Score::weight(z * scale); }, [](F32 f, F32) { return f; });
    if (stat) *stat = total;
    return total >= __FLT_MIN__ ? 1 / total : 0;
  }
}

template <class Score>
void forward(const AttentionHead& head, int64_t row_begin, int64_t row_end, void* memory) {
  const TileUnit unit;
  const ForwardScratch x(head.L, head.D, memory);
  const int64_t L = head.L, D = head.D, deep = round_up(D, 32), wide = round_up(D, 16);
  const int64_t s_pitch = round_up(L, 16), p_pitch = round_up(L, 32);
  pack_right_transposed(static_cast<const bf16*>(head.k), head.qkv_stride, L, D, x.k);
  pack_right(static_cast<const bf16*>(head.v), head.qkv_stride, L, D, x.v);
  for (int64_t i = row_begin; i < row_end; i += kBlock) {
    const int64_t rows = row_end - i < kBlock ? row_end - i : kBlock, tiles = (rows + 15) / 16;
    const int64_t keys = head.causal ? i + rows : L;  // that any row of the block sees
    pack_left(static_cast<const bf16*>(head.q) + i * head.qkv_stride, head.qkv_stride, rows, D, Score::kPower, x.q);
    multiply(tiles, (keys + 15) / 16, deep / 32, {x.q, 2 * deep}, {x.k, s_pitch / 16}, {x.s, 4 * s_pitch}, false);
    float inverse_sum[kBlock];
    for (int64_t r = 0; r < rows; ++r) {
      bf16* p = x.p + r * p_pitch;
      const int64_t visible = head.causal ? i + r + 1 : L;
      inverse_sum[r] =
          weigh_row<Score>(x.s + r * s_pitch, visible, p, head.scale, head.stat ? head.stat + i + r : nullptr);
      for (int64_t j = round_up(visible, 32); j < keys; j += 32) _mm512_storeu_si512(p + j, _mm512_setzero_si512());
    }
    multiply(tiles, wide / 16, (keys + 31) / 32, {x.p, 2 * p_pitch}, {x.v, wide / 16}, {x.o, 4 * wide}, false);
    for (int64_t r = 0; r < rows; ++r)
      unpack(x.o + r * wide, wide, inverse_sum[r], 1, D, static_cast<bf16*>(head.o) + (i + r) * head.o_stride, 0);
  }
}

int64_t forward_bytes(int64_t L, int64_t D) { return ForwardScratch(L, D, nullptr).bytes; }

// ---- backward -------------------------------------------------------------------------------------------------------
// Scores stand transposed here, a row for each key and queries across: then weights and score gradients come out as the
// left operands of dv = P^T dO and dk = dZ^T Q, whole sums over queries, and only dq is gathered over blocks of keys.
struct BackwardScratch {
  bf16 *k, *v, *kt;                 // A: K, V [keys, D] and K^T [D, keys]
  bf16 *qt, *grad_ot, *q, *grad_o;  // B: Q^T, dO^T and Q, dO
  bf16 *p, *dz;                     // A: P^T and dZ^T of a block of keys
  bf16* dz_right;                   // B: dZ^T of a group of blocks
  float *s, *g, *out, *dqt;         // Z^T, dP^T of a block; dv or dk of a block; dq^T
  float *shift, *delta;             // of each query
  int64_t bytes;
  BackwardScratch(int64_t L, int64_t D, void* memory) {
    const int64_t rows = round_up(L, 32), deep = round_up(D, 32), wide = round_up(D, 16);
    Scratch scratch{static_cast<char*>(memory)};
    for (bf16** left : {&k, &v, &kt, &qt, &grad_ot, &q, &grad_o}) *left = scratch.take<bf16>(rows * deep);
    for (bf16** block : {&p, &dz}) *block = scratch.take<bf16>(kBlock * rows);
    dz_right = scratch.take<bf16>(kGroup * kBlock * rows);
    for (float** block : {&s, &g}) *block = scratch.take<float>(kBlock * rows);
    out = scratch.take<float>(kBlock * wide);
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

// Two keys, all queries from first on: z and g into p, dz (rows of A) and dz_right (one row of B in each tile).
template <class Score>
void derive_keys(const AttentionHead& head, const BackwardScratch& x, int64_t key, int64_t row, int64_t first,
                 bf16* dz_right) {
  const int64_t queries = round_up(head.L, 16), pitch = round_up(head.L, 32);
  const F32 c = set(Score::kExponential ? head.scale * kLog2e / Score::kPower : head.scale);
  for (int64_t i = first; i < queries; i += 32) {
    __m512i dz[2];
    for (int64_t n = 0; n < 2; ++n) {
      const float *z = x.s + (row + n) * pitch + i, *g = x.g + (row + n) * pitch + i;
      Derived a = derive<Score>(load(z), load(g), load(x.shift + i), load(x.delta + i), c), b{set(0.0f), set(0.0f)};
      if (i + 16 < queries)
        b = derive<Score>(load(z + 16), load(g + 16), load(x.shift + i + 16), load(x.delta + i + 16), c);
      if (head.causal && i < key + n) {  // queries before the key do not see it
        const Mask hidden_a = lanes_below(key + n - i < 16 ? key + n - i : 16);
        const Mask hidden_b = lanes_below(key + n - i < 16 ? 0 : key + n - i < 32 ? key + n - i - 16 : 16);
        a = {select(hidden_a, set(0.0f), a.w), select(hidden_a, set(0.0f), a.dz)};
        b = {select(hidden_b, set(0.0f), b.w), select(hidden_b, set(0.0f), b.dz)};
      }
      store_pair(x.p + (row + n) * pitch + i, a.w, b.w);
      dz[n] = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(b.dz.v, a.dz.v));
      _mm512_storeu_si512(x.dz + (row + n) * pitch + i, dz[n]);
    }
    // Pairs of keys, with queries in the order the unpacks leave them in: see query_of.
    bf16* tile = dz_right + i / 16 * kTileElements + 16 * row;
    _mm512_storeu_si512(tile, _mm512_unpacklo_epi16(dz[0], dz[1]));
    _mm512_storeu_si512(tile + kTileElements, _mm512_unpackhi_epi16(dz[0], dz[1]));
  }
}

// The query in column n of dq^T.
UVIC_INLINE int64_t query_of(int64_t n) { return (n & ~31) + ((n & 12) << 1) + ((n & 16) >> 2) + (n & 3); }

void write_dq(const AttentionHead& head, const BackwardScratch& x) {
  const int64_t wide = round_up(head.D, 16), pitch = round_up(head.L, 32);
  for (int64_t n = 0; n < pitch; n += 16) {
    transpose(x.dqt + n, pitch, wide, 16, x.out, wide);
    for (int64_t r = 0; r < 16; ++r)
      if (const int64_t i = query_of(n + r); i < head.L)
        unpack(x.out + r * wide, wide, head.scale, 1, head.D, static_cast<bf16*>(head.dq) + i * head.qkv_stride, 0);
  }
}

template <class Score>
void backward(const AttentionHead& head, void* memory) {
  const BackwardScratch x(head.L, head.D, memory);
  if (!prepare_queries<Score>(head, x))
    return avx512::attention_kernels.bf16[static_cast<int>(Score::kKind)].backward(head, memory);
  const TileUnit unit;
  const int64_t L = head.L, D = head.D, deep = round_up(D, 32), wide = round_up(D, 16), pitch = round_up(L, 32);
  const int64_t columns = round_up(L, 16) / 16;
  const auto *q = static_cast<const bf16*>(head.q), *grad_o = static_cast<const bf16*>(head.grad_o);
  pack_left(static_cast<const bf16*>(head.k), head.qkv_stride, L, D, Score::kPower, x.k);
  pack_left(static_cast<const bf16*>(head.v), head.qkv_stride, L, D, 1, x.v);
  pack_left_transposed(static_cast<const bf16*>(head.k), head.qkv_stride, L, D, x.kt);
  pack_right_transposed(q, head.qkv_stride, L, D, x.qt);
  pack_right_transposed(grad_o, head.o_stride, L, D, x.grad_ot);
  pack_right(q, head.qkv_stride, L, D, x.q);
  pack_right(grad_o, head.o_stride, L, D, x.grad_o);
  const int64_t blocks = pitch / kBlock, groups = (blocks + kGroup - 1) / kGroup;
  for (int64_t group = 0; group < groups; ++group) {
    const int64_t begin = blocks * group / groups, end = blocks * (group + 1) / groups;
    for (int64_t block = begin; block < end; ++block) {
      const int64_t j = block * kBlock, keys = L - j < kBlock ? L - j : kBlock, tiles = (keys + 15) / 16;
      const int64_t first = head.causal ? j : 0;  // query
      bf16* dz_right = x.dz_right + (block - begin) * (pitch / 16) * kTileElements;
      __builtin_memset(dz_right, 0, static_cast<size_t>(first / 16 * kTileElements) * sizeof(bf16));
      const auto scores = [&](const bf16* left, const bf16* right, float* to) {
        multiply(tiles, columns - first / 16, deep / 32, {left + j * deep, 2 * deep},
                 {right + first / 16 * kTileElements, columns}, {to + first, 4 * pitch}, false);
      };
      scores(x.k, x.qt, x.s);
      scores(x.v, x.grad_ot, x.g);
      if (keys < kBlock)  // rows of missing keys must not meet K^T's zeros as NaN
        __builtin_memset(dz_right, 0, static_cast<size_t>(pitch / 16 * kTileElements) * sizeof(bf16));
      for (int64_t r = 0; r < keys; r += 2) derive_keys<Score>(head, x, j + r, r, first, dz_right);
      const auto over_queries = [&](const bf16* left, const bf16* right, float factor, void* to) {
        multiply(tiles, wide / 16, (pitch - first) / 32, {left + first, 2 * pitch},
                 {right + first / 32 * (wide / 16) * kTileElements, wide / 16}, {x.out, 4 * wide}, false);
        unpack(x.out, wide, factor, keys, D, static_cast<bf16*>(to) + j * head.qkv_stride, head.qkv_stride);
      };
      over_queries(x.p, x.grad_o, 1, head.dv);
      over_queries(x.dz, x.q, head.scale, head.dk);
    }
    multiply(wide / 16, pitch / 16, end - begin, {x.kt + begin * kBlock, 2 * pitch}, {x.dz_right, pitch / 16},
             {x.dqt, 4 * pitch}, group > 0);
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
