#include "kernels/cpu/simd/attention_amx.h"

// Scores stand transposed here, a row for each key and queries across: then weights and score gradients come out as the
// left operands of dv = P^T dO and dk = dZ^T Q, whole sums over queries, and only dq is gathered over blocks of keys.
namespace uvic::cpu::UVIC_ISA {
namespace {

constexpr int64_t kGroup = 6;   // blocks of keys whose score gradients wait for one update of dq
constexpr int64_t kChunk = 64;  // queries whose scores with a block of keys, Z^T and dP^T, stay in the L1 cache

struct BackwardScratch {
  bf16 *k, *v;                      // A: K, V [keys, D] of a block
  bf16* kt;                         // A: K^T [D, keys]
  bf16 *qt, *grad_ot, *q, *grad_o;  // B: Q^T, dO^T and Q, dO
  bf16 *p, *dz;                     // A: P^T and dZ^T of a block
  bf16* dz_right;                   // B: dZ^T of a group of blocks
  float *s, *g;                     // Z^T and dP^T [keys, kChunk] of a block and a chunk
  float *out, *dqt;                 // dv or dk of a block, dq^T
  float *shift, *delta;             // of each query
  int64_t bytes;
  BackwardScratch(int64_t L, int64_t D, void* memory) {
    const int64_t rows = round_up(L, 32), deep = round_up(D, 32), wide = round_up(D, 16);
    Scratch scratch{static_cast<char*>(memory)};
    for (bf16** operand : {&k, &v}) *operand = scratch.take<bf16>(kBlock * deep);
    for (bf16** operand : {&kt, &qt, &grad_ot, &q, &grad_o}) *operand = scratch.take<bf16>(rows * deep);
    for (bf16** block : {&p, &dz}) *block = scratch.take<bf16>(kBlock * rows);
    for (float** chunk : {&s, &g}) *chunk = scratch.take<float>(kBlock * kChunk);
    dz_right = scratch.take<bf16>(kGroup * kBlock * rows);
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
  for (int64_t i = 0; i < round_up(head.L, 32); i += 16) {
    F32 totals[16];
    const int64_t rows = head.L - i < 16 ? head.L - i : 16;
    for (F32& total : totals) total = set(0.0f);
    for (int64_t d = 0; d < head.D; d += 32) {
      const Columns o(static_cast<const bf16*>(head.o), head.o_stride, head.L, head.D, d);
      const Columns grad_o(static_cast<const bf16*>(head.grad_o), head.o_stride, head.L, head.D, d);
      for (int64_t r = 0; r < rows; ++r)
        totals[r].v = _mm512_dpbf16_ps(totals[r].v, reinterpret_cast<__m512bh>(o.row(i + r)),
                                       reinterpret_cast<__m512bh>(grad_o.row(i + r)));
    }
    store(x.delta + i, join_lanes(totals, add));
    const F32 stat = load(head.stat + i, rows < 0 ? 0 : rows);
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
UVIC_INLINE Derived derive(const float* z, const float* g, const float* shift, const float* delta, F32 c) {
  if constexpr (Score::kExponential) {
    const F32 score = load(z), w = Score::weight(exp2(fma(Score::magnitude(score), c, -load(shift))), score);
    return {w, Score::gradient(w, load(g), load(delta))};
  } else {
    const F32 score = load(z) * c, square = min(score * score, 1e38f), r = inverse(square + set(1.0f));
    const F32 share = r * load(shift);
    return {square * share, (load(g) - load(delta)) * (score + score) * (share * r)};
  }
}

// Two keys and the queries from begin to end, a chunk: row r and r + 1 of s and g into those of p and dz (A), and a row
// of dz_right (B).
template <class Score>
void derive_keys(const AttentionHead& head, const BackwardScratch& x, int64_t key, int64_t r, int64_t begin,
                 int64_t end, bf16* dz_right) {
  const int64_t pitch = round_up(head.L, 32);
  const F32 c = set(factor_of<Score>(head.scale));
  for (int64_t i = begin; i < end; i += 32) {
    __m512i dz[2];
    for (int64_t n = 0; n < 2; ++n) {
      const int64_t at = (r + n) * pitch + i, from = (r + n) * kChunk + i - begin;
      Derived a = derive<Score>(x.s + from, x.g + from, x.shift + i, x.delta + i, c), b{set(0.0f), set(0.0f)};
      if (i + 16 < end) b = derive<Score>(x.s + from + 16, x.g + from + 16, x.shift + i + 16, x.delta + i + 16, c);
      if (const int64_t hidden = key + n - i; head.causal && hidden > 0) {  // queries before the key do not see it
        const Mask hidden_a = lanes_below(hidden < 16 ? hidden : 16);
        const Mask hidden_b = lanes_below(hidden < 16 ? 0 : hidden < 32 ? hidden - 16 : 16);
        a = {select(hidden_a, set(0.0f), a.w), select(hidden_a, set(0.0f), a.dz)};
        b = {select(hidden_b, set(0.0f), b.w), select(hidden_b, set(0.0f), b.dz)};
      }
      store_pair(x.p + at, a.w, b.w);
      dz[n] = to_bf16_pair(a.dz, b.dz);
      _mm512_storeu_si512(x.dz + at, dz[n]);
    }
    // Pairs of keys, with queries in the order the unpacks leave them in: see write_dq.
    bf16* tile = dz_right + i / 16 * kTileElements + 16 * r;
    _mm512_storeu_si512(tile, _mm512_unpacklo_epi16(dz[0], dz[1]));
    _mm512_storeu_si512(tile + kTileElements, _mm512_unpackhi_epi16(dz[0], dz[1]));
  }
}

// dv and dk of one block of keys, and its dz_right.
template <class Score>
void derive_block(const AttentionHead& head, const BackwardScratch& x, int64_t key, bf16* dz_right) {
  const int64_t L = head.L, deep = round_up(head.D, 32), wide = round_up(head.D, 16), pitch = round_up(L, 32);
  const int64_t queries = round_up(L, 16), keys = L - key < kBlock ? L - key : kBlock, tiles = (keys + 15) / 16;
  const int64_t first = head.causal ? key : 0;  // query
  // Tiles of queries that see no key of the block, and rows of missing keys: these must not meet K^T's zeros as NaN.
  const int64_t clear = keys < kBlock ? pitch : first;
  __builtin_memset(dz_right, 0, static_cast<size_t>(clear / 16 * kTileElements) * sizeof(bf16));
  pack_left(static_cast<const bf16*>(head.k) + key * head.qkv_stride, head.qkv_stride, keys, head.D, x.k);
  pack_left(static_cast<const bf16*>(head.v) + key * head.qkv_stride, head.qkv_stride, keys, head.D, x.v);
  for (int64_t begin = first; begin < queries; begin += kChunk) {
    const int64_t end = begin + kChunk < queries ? begin + kChunk : queries;
    const auto multiply_scores = [&](const bf16* left, const bf16* right, float* to) {
      multiply({tiles, (end - begin) / 16, deep / 32, left, 2 * deep, right + begin / 16 * kTileElements, queries / 16,
                to, 4 * kChunk, false});
    };
    multiply_scores(x.k, x.qt, x.s);
    multiply_scores(x.v, x.grad_ot, x.g);
    for (int64_t r = 0; r < keys; r += 2) derive_keys<Score>(head, x, key + r, r, begin, end, dz_right);
  }
  const auto multiply_sums = [&](const bf16* left, const bf16* right, float factor, void* to) {
    multiply({tiles, wide / 16, (pitch - first) / 32, left + first, 2 * pitch,
              right + first / 32 * (wide / 16) * kTileElements, wide / 16, x.out, 4 * wide, false});
    for (int64_t r = 0; r < keys; ++r)
      unpack_row(x.out + r * wide, set(factor), head.D, static_cast<bf16*>(to) + (key + r) * head.qkv_stride);
  };
  multiply_sums(x.p, x.grad_o, 1, head.dv);
  multiply_sums(x.dz, x.q, head.scale, head.dk);
}

// dq from its transpose, whose columns are in the order of derive_keys: of 32 queries, the first tile has 0-3, 8-11,
// 16-19 and 24-27.
void write_dq(const AttentionHead& head, const BackwardScratch& x) {
  const int64_t pitch = round_up(head.L, 32);
  const F32 factor = set(head.scale);
  for (int64_t n = 0; n < pitch; n += 16) {
    for (int64_t d = 0; d < head.D; d += 32) {
      const int64_t left = head.D - d < 32 ? head.D - d : 32;
      __m512i a[16], b[16];
      for (int64_t i = 0; i < 16; ++i) {
        a[i] = _mm512_loadu_si512(x.dqt + (d + i) * pitch + n);
        b[i] = left > 16 ? _mm512_loadu_si512(x.dqt + (d + 16 + i) * pitch + n) : _mm512_setzero_si512();
      }
      transpose16(a);
      transpose16(b);
      for (int64_t r = 0; r < 16; ++r) {
        const int64_t query = (n & ~31) + r / 4 * 8 + r % 4 + (n & 16) / 4;
        if (query >= head.L) continue;
        const F32 lo{_mm512_castsi512_ps(a[r])}, hi{_mm512_castsi512_ps(b[r])};
        _mm512_mask_storeu_epi16(static_cast<bf16*>(head.dq) + query * head.qkv_stride + d, first_words(left),
                                 to_bf16_pair(lo * factor, hi * factor));
      }
    }
  }
}

template <class Score>
void backward(const AttentionHead& head, void* memory) {
  const BackwardScratch x(head.L, head.D, memory);
  if (!prepare_queries<Score>(head, x))
    return avx512::attention_backward.bf16[static_cast<int>(Score::kKind)](head, memory);
  const TileUnit unit;
  const int64_t L = head.L, D = head.D, wide = round_up(D, 16), pitch = round_up(L, 32);
  const auto *q = static_cast<const bf16*>(head.q), *grad_o = static_cast<const bf16*>(head.grad_o);
  pack_left_transposed(static_cast<const bf16*>(head.k), head.qkv_stride, L, D, x.kt);
  pack_right_transposed<Score::kPower>(q, head.qkv_stride, L, D, x.qt);
  pack_right_transposed(grad_o, head.o_stride, L, D, x.grad_ot);
  pack_right(q, head.qkv_stride, L, D, x.q);
  pack_right(grad_o, head.o_stride, L, D, x.grad_o);
  const int64_t blocks = pitch / kBlock, groups = (blocks + kGroup - 1) / kGroup;
  for (int64_t group = 0; group < groups; ++group) {
    const int64_t begin = blocks * group / groups, end = blocks * (group + 1) / groups;
    for (int64_t block = begin; block < end; ++block) {
      const int64_t key = block * kBlock, rows = L - key < kBlock ? L - key : kBlock;
      for (const void* matrix : {head.q, head.k, head.v}) prefetch_next_head(matrix, head.qkv_stride, key, rows, D);
      for (const void* matrix : {static_cast<const void*>(head.o), head.grad_o})
        prefetch_next_head(matrix, head.o_stride, key, rows, D);
      derive_block<Score>(head, x, key, x.dz_right + (block - begin) * (pitch / 16) * kTileElements);
    }
    multiply({wide / 16, pitch / 16, end - begin, x.kt + begin * kBlock, 2 * pitch, x.dz_right, pitch / 16, x.dqt,
              4 * pitch, group > 0});
  }
  write_dq(head, x);
}

int64_t backward_bytes(int64_t L, int64_t D) {
  const int64_t own = BackwardScratch(L, D, nullptr).bytes, fallback = avx512::attention_backward.bytes(L, D);
  return own > fallback ? own : fallback;
}

}  // namespace

const AttentionBackward attention_backward = {
    backward_bytes, {}, {backward<TileSoftmax>, backward<TileCog>, backward<TileExpressive>}};

}  // namespace uvic::cpu::UVIC_ISA
