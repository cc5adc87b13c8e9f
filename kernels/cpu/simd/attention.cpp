#include "kernels/cpu/simd/attention.h"

#include "kernels/cpu/simd/matrix.h"
#include "kernels/ops/attention_score.h"

// All arithmetic in f32, for f32 and bf16 alike. A block of query rows meets all keys at once: the scores of 32 rows
// and a few hundred keys stay in the second-level cache, a row's maximum is known before its first exp, and nothing
// need be rescaled. Scores stay unscaled until they enter exp: (|s| - max|s|) scale loses less than scale |s| - m near
// 300.
namespace uvic::cpu::UVIC_ISA {
namespace {

constexpr int64_t kBlockRows = 32;

// Where a pass keeps its copies: L and D rounded up to vectors, one matrix after another.
struct Scratch {
  int64_t keys, width;
  float* next;
  Scratch(const AttentionHead& head, void* memory)
      : keys(round_up(head.L, 16)), width(round_up(head.D, 16)), next(static_cast<float*>(memory)) {}
  float* take(int64_t floats) {
    float* here = next;
    next += floats;
    return here;
  }
};

int64_t forward_bytes(int64_t L, int64_t D) {
  const int64_t keys = round_up(L, 16), width = round_up(D, 16);
  return 4 * (2 * keys * width + kBlockRows * (keys + 2 * width));
}

int64_t backward_bytes(int64_t L, int64_t D) {
  const int64_t keys = round_up(L, 16), width = round_up(D, 16);
  return 4 * (6 * keys * width + kBlockRows * (2 * keys + 3 * width));
}

// What one block of rows shares: rows [begin, end) and the keys any of them may see, rounded up to vectors.
struct Block {
  int64_t begin, end, rows, keys;
  Block(const AttentionHead& head, int64_t first, int64_t last)
      : begin(first),
        end(first + kBlockRows < last ? first + kBlockRows : last),
        rows(round_up(end - begin, 8)),
        keys(round_up(head.causal ? end : head.L, 16)) {}
};

int64_t keys_of_row(const AttentionHead& head, int64_t row) { return head.causal ? row + 1 : head.L; }

// Calls f(j, lanes) for the vectors of a row that hold keys, and clears the rest of the row up to end.
template <class F>
UVIC_INLINE void over_keys(int64_t keys, int64_t end, float* row, const F& f) {
  int64_t j = 0;
  for (; j + 16 <= keys; j += 16) f(j, 16);
  if (j < keys) f(j, keys - j), j += 16;
  for (; j < end; j += 16) store(row + j, set(0.0f));
}

// Undivided weights w of a row from its scores s; w may be s. Returns the inverse of their sum.
template <class Score>
float weigh_row(const AttentionHead& head, int64_t keys, int64_t end, const float* s, float* w, float* stat) {
  F32 total = set(0.0f);
  if constexpr (Score::kExponential) {
    F32 highest = set(-__builtin_inff());
    int64_t j = 0;
    for (; j + 16 <= keys; j += 16) highest = max(Score::magnitude(load(s + j)), highest);
    if (j < keys) highest = max(select(lanes_below(keys - j), Score::magnitude(load(s + j)), highest), highest);
    const float m = max_of(highest);
    over_keys(keys, end, w, [&](int64_t at, int64_t lanes) {
      const F32 z = load(s + at), e = exp((Score::magnitude(z) - m) * head.scale);
      const F32 u = lanes == 16 ? e : keep(lanes_below(lanes), e);
      total = total + u;
      store(w + at, Score::weight(u, z));
    });
    const float sum_u = sum(total);
    if (stat) *stat = m * head.scale + __builtin_logf(sum_u);
    return 1 / sum_u;
  } else {
    over_keys(keys, end, w, [&](int64_t at, int64_t lanes) {
      const F32 f = Score::weight(load(s + at) * head.scale);
      const F32 kept = lanes == 16 ? f : keep(lanes_below(lanes), f);
      total = total + kept;
      store(w + at, kept);
    });
    const float sum_f = sum(total);
    if (stat) *stat = sum_f;
    return sum_f >= __FLT_MIN__ ? 1 / sum_f : 0;
  }
}

template <class Score, class T>
void forward(const AttentionHead& head, int64_t row_begin, int64_t row_end, void* memory) {
  Scratch scratch(head, memory);
  const int64_t keys = scratch.keys, width = scratch.width;
  float* kt = scratch.take(width * keys);  // K^T
  float* v = scratch.take(keys * width);
  float* s = scratch.take(kBlockRows * keys);
  float* q = scratch.take(kBlockRows * width);
  float* o = scratch.take(kBlockRows * width);
  pack(static_cast<const T*>(head.k), head.qkv_stride, head.L, head.D, v, keys, width);
  transpose(v, width, keys, width, kt, keys);
  pack(static_cast<const T*>(head.v), head.qkv_stride, head.L, head.D, v, keys, width);
  for (int64_t i = row_begin; i < row_end; i += kBlockRows) {
    const Block block(head, i, row_end);
    pack(static_cast<const T*>(head.q) + i * head.qkv_stride, head.qkv_stride, block.end - i, head.D, q, block.rows,
         width);
    multiply(block.rows, block.keys, head.D, {q, width, 1}, kt, keys, s, keys, false);
    float inverse[kBlockRows];
    for (int64_t r = 0; r < block.end - i; ++r)
      inverse[r] = weigh_row<Score>(head, keys_of_row(head, i + r), block.keys, s + r * keys, s + r * keys,
                                    head.stat ? head.stat + i + r : nullptr);
    multiply(block.rows, width, head.causal ? block.end : head.L, {s, keys, 1}, v, width, o, width, false);
    for (int64_t r = 0; r < block.end - i; ++r)
      unpack(o + r * width, width, inverse[r], 1, head.D, static_cast<T*>(head.o) + (i + r) * head.o_stride, 0);
  }
}

// g becomes dL/dz in place. s holds undivided weights (exponential kinds) or scores.
template <class Score>
void derive_row(const AttentionHead& head, int64_t keys, int64_t end, const float* s, float* g, float delta) {
  const float factor = Score::kExponential ? 1.0f : head.scale;
  over_keys(keys, end, g, [&](int64_t at, int64_t lanes) {
    const F32 dz = Score::gradient(load(s + at) * factor, load(g + at), set(delta));
    store(g + at, lanes == 16 ? dz : keep(lanes_below(lanes), dz));
  });
}

float dot(const float* a, const float* b, int64_t n) {
  F32 total = set(0.0f);
  for (int64_t i = 0; i < n; i += 16) total = fma(load(a + i), load(b + i), total);
  return sum(total);
}

// Weights are made anew from the row's own maximum and sum: exp(z - stat) would turn the rounding of a stat near 300,
// 1e-5, into as large a relative error.
template <class Score, class T>
void backward(const AttentionHead& head, void* memory) {
  Scratch scratch(head, memory);
  const int64_t keys = scratch.keys, width = scratch.width;
  float* kt = scratch.take(width * keys);
  float* vt = scratch.take(width * keys);
  float* k = scratch.take(keys * width);
  float* dk = scratch.take(keys * width);
  float* dv = scratch.take(keys * width);
  float* v = scratch.take(keys * width);
  float* s = scratch.take(kBlockRows * keys);
  float* g = scratch.take(kBlockRows * keys);
  float* w =
      Score::kExponential ? s : g;  // expressive derives from scores, and its weights are used up before g exists
  float* q = scratch.take(kBlockRows * width);
  float* grad_o = scratch.take(kBlockRows * width);
  float* o = scratch.take(kBlockRows * width);  // then dq
  pack(static_cast<const T*>(head.v), head.qkv_stride, head.L, head.D, v, keys, width);
  transpose(v, width, keys, width, vt, keys);
  pack(static_cast<const T*>(head.k), head.qkv_stride, head.L, head.D, k, keys, width);
  transpose(k, width, keys, width, kt, keys);
  __builtin_memset(dk, 0, static_cast<size_t>(2 * keys * width) * sizeof(float));
  for (int64_t i = 0; i < head.L; i += kBlockRows) {
    const Block block(head, i, head.L);
    const int64_t rows = block.end - i;
    const auto pack_block = [&](const void* from, int64_t stride, float* to) {
      pack(static_cast<const T*>(from) + i * stride, stride, rows, head.D, to, block.rows, width);
    };
    pack_block(head.q, head.qkv_stride, q);
    pack_block(head.grad_o, head.o_stride, grad_o);
    pack_block(head.o, head.o_stride, o);
    multiply(block.rows, block.keys, head.D, {q, width, 1}, kt, keys, s, keys, false);
    float delta[kBlockRows];
    for (int64_t r = 0; r < rows; ++r) {
      const float factor =
          weigh_row<Score>(head, keys_of_row(head, i + r), block.keys, s + r * keys, w + r * keys, nullptr);
      float* row = grad_o + r * width;
      for (int64_t d = 0; d < width; d += 16) store(row + d, load(row + d) * factor);
      delta[r] = dot(row, o + r * width, width);
    }
    multiply(block.keys, width, rows, {w, 1, keys}, grad_o, width, dv, width, true);
    multiply(block.rows, block.keys, head.D, {grad_o, width, 1}, vt, keys, g, keys, false);
    for (int64_t r = 0; r < rows; ++r)
      derive_row<Score>(head, keys_of_row(head, i + r), block.keys, s + r * keys, g + r * keys, delta[r]);
    multiply(block.keys, width, rows, {g, 1, keys}, q, width, dk, width, true);
    multiply(block.rows, width, head.causal ? block.end : head.L, {g, keys, 1}, k, width, o, width, false);
    unpack(o, width, head.scale, rows, head.D, static_cast<T*>(head.dq) + i * head.qkv_stride, head.qkv_stride);
  }
  unpack(dk, width, head.scale, head.L, head.D, static_cast<T*>(head.dk), head.qkv_stride);
  unpack(dv, width, 1, head.L, head.D, static_cast<T*>(head.dv), head.qkv_stride);
}

}  // namespace

const AttentionForward attention_forward = {
    kBlockRows,
    forward_bytes,
    {forward<SoftmaxScore, float>, forward<CogScore, float>, forward<ExpressiveScore, float>},
    {forward<SoftmaxScore, bf16>, forward<CogScore, bf16>, forward<ExpressiveScore, bf16>},
};
const AttentionBackward attention_backward = {
    backward_bytes,
    {backward<SoftmaxScore, float>, backward<CogScore, float>, backward<ExpressiveScore, float>},
    {backward<SoftmaxScore, bf16>, backward<CogScore, bf16>, backward<ExpressiveScore, bf16>},
};

}  // namespace uvic::cpu::UVIC_ISA
