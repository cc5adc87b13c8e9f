#include "kernels/cpu/simd/attention_amx.h"

namespace uvic::cpu::UVIC_ISA {
namespace {

struct ForwardScratch {
  bf16 *k, *v, *q, *p;  // K^T and V as B; a block of Q and of weights as A
  float *s, *o;         // a block's scores and output
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

// The natural logarithm, absolute error 2e-7 near 1: ln m = 2 artanh((m - 1) / (m + 1)) for 1 <= m < 2.
UVIC_INLINE F32 log(F32 x) {
  const F32 m{_mm512_getmant_ps(x.v, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_zero)}, exponent{_mm512_getexp_ps(x.v)};
  const F32 s = (m - set(1.0f)) / (m + set(1.0f)), s2 = s * s;
  F32 p = set(2 / 11.0f);
  for (const float c : {2 / 9.0f, 2 / 7.0f, 2 / 5.0f, 2 / 3.0f, 2.0f}) p = fma(p, s2, set(c));
  return fma(exponent, set(kLn2), p * s);
}

// The lanes' largest magnitudes of a row of scores.
template <class Score>
UVIC_INLINE F32 highest_of(const float* s, int64_t keys) {
  F32 a = set(Score::kLowest), b = a;
  int64_t j = 0;
  for (; j + 32 <= keys; j += 32) {
    a = Score::highest(a, load(s + j));
    b = Score::highest(b, load(s + j + 16));
  }
  for (; j < keys; j += 16) a = select(lanes_below(keys - j < 16 ? keys - j : 16), Score::highest(a, load(s + j)), a);
  return max(a, b);
}

// Weights p = weight(value(z), z) of a row in bf16, 0 from keys to end, a multiple of 32. Returns the lanes' sums of
// value, in f32.
template <class Value, class Weight>
UVIC_INLINE F32 weigh(const float* s, int64_t keys, int64_t end, bf16* p, const Value& value, const Weight& weight) {
  F32 total_a = set(0.0f), total_b = set(0.0f);
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
  return total_a + total_b;
}

// Weights of 16 rows or less, all row statistics at once with a row in each lane. Returns the inverse of the sums.
template <class Score>
F32 weigh_rows(const AttentionHead& head, int64_t row, int64_t rows, int64_t keys, const float* s, bf16* p, F32* stat) {
  const int64_t s_pitch = round_up(head.L, 16), p_pitch = round_up(head.L, 32), end = round_up(keys, 32);
  const float factor = factor_of<Score>(head.scale);
  const F32 c = set(factor);
  const auto keys_of = [&](int64_t r) { return head.causal ? row + r + 1 : keys; };
  F32 totals[16];
  for (F32& total : totals) total = set(1.0f);
  if constexpr (Score::kExponential) {
    F32 highest[16];
    for (F32& h : highest) h = set(0.0f);
    for (int64_t r = 0; r < rows; ++r) highest[r] = highest_of<Score>(s + r * s_pitch, keys_of(r));
    const F32 largest = join_lanes(highest, [](F32 a, F32 b) { return max(a, b); });
    alignas(64) float m[16];
    store(m, largest);
    const auto weight = [](F32 u, F32 z) { return Score::weight(u, z); };
    for (int64_t r = 0; r < rows; ++r) {
      const float* z = s + r * s_pitch;
      if (const F32 shift = set(-m[r] * factor); - m[r] * factor > -kWide) {
        const auto value = [&](F32 x) { return exp2(fma(Score::magnitude(x), c, shift)); };
        totals[r] = weigh(z, keys_of(r), end, p + r * p_pitch, value, weight);
      } else {
        const auto value = [&](F32 x) { return exp2((Score::magnitude(x) - m[r]) * c); };
        totals[r] = weigh(z, keys_of(r), end, p + r * p_pitch, value, weight);
      }
    }
    const F32 total = join_lanes(totals, add);
    *stat = fma(largest * c, set(kLn2), log(total));
    return set(1.0f) / total;
  } else {
    for (int64_t r = 0; r < rows; ++r) {
      const auto value = [&](F32 z) { return Score::weight(z * c); };
      totals[r] = weigh(s + r * s_pitch, keys_of(r), end, p + r * p_pitch, value, [](F32 f, F32) { return f; });
    }
    const F32 total = join_lanes(totals, add);
    *stat = total;
    return select(total < set(__FLT_MIN__), set(0.0f), set(1.0f) / total);
  }
}

template <class Score>
void forward(const AttentionHead& head, int64_t row_begin, int64_t row_end, void* memory) {
  const TileUnit unit;
  const ForwardScratch x(head.L, head.D, memory);
  const int64_t L = head.L, D = head.D, deep = round_up(D, 32), wide = round_up(D, 16);
  const int64_t s_pitch = round_up(L, 16), p_pitch = round_up(L, 32);
  pack_right_transposed<Score::kPower>(static_cast<const bf16*>(head.k), head.qkv_stride, L, D, x.k);
  pack_right(static_cast<const bf16*>(head.v), head.qkv_stride, L, D, x.v);
  for (int64_t i = row_begin; i < row_end; i += kBlock) {
    const int64_t rows = row_end - i < kBlock ? row_end - i : kBlock, tiles = (rows + 15) / 16;
    const int64_t keys = head.causal ? i + rows : L;  // that any row of the block sees
    for (const void* matrix : {head.q, head.k, head.v}) prefetch_next_head(matrix, head.qkv_stride, i, rows, D);
    pack_left(static_cast<const bf16*>(head.q) + i * head.qkv_stride, head.qkv_stride, rows, D, x.q);
    multiply({tiles, (keys + 15) / 16, deep / 32, x.q, 2 * deep, x.k, s_pitch / 16, x.s, 4 * s_pitch, false});
    alignas(64) float inverse_sum[kBlock];
    for (int64_t r = 0; r < rows; r += 16) {
      const int64_t some = rows - r < 16 ? rows - r : 16;
      F32 stat;
      store(inverse_sum + r, weigh_rows<Score>(head, i + r, some, keys, x.s + r * s_pitch, x.p + r * p_pitch, &stat));
      if (head.stat) store(head.stat + i + r, stat, some);
    }
    multiply({tiles, wide / 16, (keys + 31) / 32, x.p, 2 * p_pitch, x.v, wide / 16, x.o, 4 * wide, false});
    for (int64_t r = 0; r < rows; ++r)
      unpack_row(x.o + r * wide, set(inverse_sum[r]), D, static_cast<bf16*>(head.o) + (i + r) * head.o_stride);
  }
}

int64_t forward_bytes(int64_t L, int64_t D) { return ForwardScratch(L, D, nullptr).bytes; }

}  // namespace

const AttentionForward attention_forward = {
    kBlock, forward_bytes, {}, {forward<TileSoftmax>, forward<TileCog>, forward<TileExpressive>}};

}  // namespace uvic::cpu::UVIC_ISA
