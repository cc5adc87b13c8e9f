#pragma once

// The three passes of attention over tiles, each as one block runs it; see attention_tile.h for what a Block is.
//   forward         a block makes kOwn rows of o, over all keys: no [L, L] anywhere
//   row gradient    a block makes kOwn rows of dq, over all keys
//   key gradient    a block makes kOwn rows of dk and dv, over all rows
// Backward makes the scores twice, once a pass, so that every gradient has one owner: 7 products instead of 5, and no
// atomics, whose order would change from run to run.
//
// A kernel file in all but name, so longer than a header should be: the host compiles it too.

#include "kernels/cuda/attention_tile.h"

namespace uvic::cuda {

struct ForwardHead {
  HeadRows<const bf16> q, k, v;
  HeadRows<bf16> o;
  float* stat;  // [L], may be null
};

// bf16 of shared memory.
template <int kD>
constexpr int kForwardShared = (kOwn + 2 * kForwardStep) * kTileStride<kD>;

// One warp's 16 rows.
template <class Score, int kD, class W>
struct ForwardRows {
  using T = Tiles<W, kD>;
  static constexpr int kScores = kForwardStep / 8;
  typename T::Accumulator o[kD / 8];
  typename W::template Registers<float, 2> most, sum;  // of the lane's two rows; sum only of the lane's own columns

  UVIC_HD void begin() {
    T::clear(o);
    W::each_lane([&](int lane) {
      UVIC_UNROLL
      for (int half = 0; half < 2; ++half) most.of(lane)[half] = -INFINITY, sum.of(lane)[half] = 0;
    });
  }

  UVIC_HD void step(const AttentionSize& s, int64_t row, int64_t key, const bf16* q, const bf16* k, const bf16* v) {
    const int groups = groups_of<kForwardStep>(key, s.causal ? smaller(s.L, row + 16) : s.L);
    if (groups <= 0) return;
    typename T::Accumulator z[kScores];
    T::scores(q, k, groups, z);
    typename W::template Registers<int, 2> seen;
    const auto counts = [&](int lane, int n, int i) { return 8 * n + i % 2 < seen.of(lane)[i / 2]; };
    typename W::template Registers<float, 2> largest;
    W::each_lane([&](int lane) {
      UVIC_UNROLL
      for (int i = 0; i < 2; ++i) {
        largest.of(lane)[i] = most.of(lane)[i];
        seen.of(lane)[i] = columns_seen<kForwardStep>(s, row + tile_row(lane, 2 * i), key, lane);
      }
      UVIC_UNROLL
      for (int n = 0; n < kScores; ++n) {
        UVIC_UNROLL
        for (int i = 0; i < 4; ++i) {
          float& score = z[n].of(lane)[i];
          score *= s.scale;
          if constexpr (Score::kExponential) {
            float& large = largest.of(lane)[i / 2];
            if (counts(lane, n, i)) large = fmaxf(large, Score::template magnitude<Real>(score).v);
          }
        }
      }
    });
    if constexpr (Score::kExponential) {
      W::quad_max(largest);
      rescale(largest);
    }
    typename T::Fragment weights[kScores / 2];
    W::each_lane([&](int lane) {
      UVIC_UNROLL
      for (int n = 0; n < kScores; ++n) {
        UVIC_UNROLL
        for (int half = 0; half < 2; ++half) {
          float w[2];
          UVIC_UNROLL
          for (int j = 0; j < 2; ++j) {
            const int i = 2 * half + j;
            const float score = z[n].of(lane)[i];
            float u = 0;
            if (counts(lane, n, i)) {
              if constexpr (Score::kExponential) {
                u = W::exp(Score::template magnitude<Real>(score).v - most.of(lane)[half]);
              } else {
                u = Score::template weight<Real>(score).v;
              }
            }
            sum.of(lane)[half] += u;
            w[j] = u;
            if constexpr (Score::kExponential) w[j] = Score::template weight<Real>(u, score).v;
          }
          T::put(weights[n / 2], lane, n, half, w[0], w[1]);
        }
      }
    });
    T::add_product(weights, v, groups, o);
  }

  UVIC_HD void finish(const AttentionSize& s, int64_t row, const ForwardHead& head) {
    W::quad_sum(sum);
    typename W::template Registers<float, 2> inverse;
    W::each_lane([&](int lane) {
      UVIC_UNROLL
      for (int half = 0; half < 2; ++half) {
        const float total = sum.of(lane)[half];
        inverse.of(lane)[half] = total > 0 ? 1 / total : 0.0f;
        const int64_t at = row + tile_row(lane, 2 * half);
        if (!head.stat || lane % 4 != 0 || at >= s.L) continue;
        if constexpr (Score::kExponential) {
          head.stat[at] = most.of(lane)[half] + logf(total);
        } else {
          head.stat[at] = total;
        }
      }
    });
    T::store(o, inverse, s, row, head.o);
  }

 private:
  // What was summed under the old maxima, under the new ones. Every row has met a key by now, so
  // largest is not -infinity.
  UVIC_HD void rescale(const typename W::template Registers<float, 2>& largest) {
    W::each_lane([&](int lane) {
      UVIC_UNROLL
      for (int half = 0; half < 2; ++half) {
        const float factor = W::exp(most.of(lane)[half] - largest.of(lane)[half]);
        most.of(lane)[half] = largest.of(lane)[half];
        sum.of(lane)[half] *= factor;
        UVIC_UNROLL
        for (int n = 0; n < kD / 8; ++n) {
          UVIC_UNROLL
          for (int j = 0; j < 2; ++j) o[n].of(lane)[2 * half + j] *= factor;
        }
      }
    });
  }
};

template <class Score, int kD, class Block>
UVIC_HD void forward_block(Block& block, const AttentionSize& s, const ForwardHead& head, int64_t first, bf16* shared) {
  constexpr int kStride = kTileStride<kD>;
  bf16 *q = shared, *k = q + kOwn * kStride, *v = k + kForwardStep * kStride;
  typename Block::template PerWarp<ForwardRows<Score, kD, typename Block::Warp>> rows;
  block.each_thread([&](int thread) { load_tile<kD, kOwn>(thread, s, head.q, first, q); });
  block.each_warp([&](int warp) { rows.of(warp).begin(); });
  const int64_t end = s.causal ? smaller(s.L, first + kOwn) : s.L;
  for (int64_t key = 0; key < end; key += kForwardStep) {
    block.barrier();
    block.each_thread([&](int thread) {
      load_tile<kD, kForwardStep>(thread, s, head.k, key, k);
      load_tile<kD, kForwardStep>(thread, s, head.v, key, v);
    });
    block.barrier();
    block.each_warp([&](int warp) {
      if (first + 16 * warp < s.L) rows.of(warp).step(s, first + 16 * warp, key, q + 16 * warp * kStride, k, v);
    });
  }
  block.each_warp([&](int warp) {
    if (first + 16 * warp < s.L) rows.of(warp).finish(s, first + 16 * warp, head);
  });
}

struct BackwardHead {
  HeadRows<const bf16> q, k, v, grad_o;
  const float *stat, *delta;  // [L]
  HeadRows<bf16> dq, dk, dv;
};

template <int kD>
constexpr int kBackwardShared = 2 * (kOwn + kBackwardStep) * kTileStride<kD>;

// One warp's 16 rows of dq.
template <class Score, int kD, class W>
struct RowGradient {
  using T = Tiles<W, kD>;
  static constexpr int kScores = kBackwardStep / 8;
  typename T::Accumulator dq[kD / 8];
  typename W::template Registers<float, 2> stat, delta;  // of the lane's two rows

  UVIC_HD void begin(const AttentionSize& s, const BackwardHead& head, int64_t row) {
    T::clear(dq);
    W::each_lane([&](int lane) {
      UVIC_UNROLL
      for (int half = 0; half < 2; ++half) {
        const int64_t at = row + tile_row(lane, 2 * half);
        stat.of(lane)[half] = at < s.L ? head.stat[at] : 0.0f;
        delta.of(lane)[half] = at < s.L ? head.delta[at] : 0.0f;
      }
    });
  }

  UVIC_HD void step(const AttentionSize& s, int64_t row, int64_t key, const bf16* q, const bf16* grad_o, const bf16* k,
                    const bf16* v) {
    const int groups = groups_of<kBackwardStep>(key, s.causal ? smaller(s.L, row + 16) : s.L);
    if (groups <= 0) return;
    typename T::Accumulator z[kScores], g[kScores];
    T::scores(q, k, groups, z);
    T::scores(grad_o, v, groups, g);
    typename T::Fragment dz[kScores / 2];
    W::each_lane([&](int lane) {
      // Rows behind L are zeros, and are not stored.
      const int seen[] = {columns_seen<kBackwardStep>(s, row + tile_row(lane, 0), key, lane),
                          columns_seen<kBackwardStep>(s, row + tile_row(lane, 2), key, lane)};
      UVIC_UNROLL
      for (int n = 0; n < kScores; ++n) {
        UVIC_UNROLL
        for (int half = 0; half < 2; ++half) {
          float d[2];
          UVIC_UNROLL
          for (int j = 0; j < 2; ++j) {
            const int i = 2 * half + j;
            d[j] = 0;
            if (8 * n + j < seen[half])
              d[j] = score_gradient<Score, W>(z[n].of(lane)[i] * s.scale, g[n].of(lane)[i], delta.of(lane)[half],
                                              stat.of(lane)[half])
                         .dz;
          }
          T::put(dz[n / 2], lane, n, half, d[0], d[1]);
        }
      }
    });
    T::add_product(dz, k, groups, dq);
  }

  UVIC_HD void finish(const AttentionSize& s, int64_t row, const BackwardHead& head) {
    typename W::template Registers<float, 2> scale;
    W::each_lane([&](int lane) { scale.of(lane)[0] = scale.of(lane)[1] = s.scale; });
    T::store(dq, scale, s, row, head.dq);
  }
};

template <class Score, int kD, class Block>
UVIC_HD void row_gradient_block(Block& block, const AttentionSize& s, const BackwardHead& head, int64_t first,
                                bf16* shared) {
  constexpr int kStride = kTileStride<kD>;
  bf16 *q = shared, *grad_o = q + kOwn * kStride, *k = grad_o + kOwn * kStride, *v = k + kBackwardStep * kStride;
  typename Block::template PerWarp<RowGradient<Score, kD, typename Block::Warp>> rows;
  block.each_thread([&](int thread) {
    load_tile<kD, kOwn>(thread, s, head.q, first, q);
    load_tile<kD, kOwn>(thread, s, head.grad_o, first, grad_o);
  });
  block.each_warp([&](int warp) { rows.of(warp).begin(s, head, first + 16 * warp); });
  const int64_t end = s.causal ? smaller(s.L, first + kOwn) : s.L;
  for (int64_t key = 0; key < end; key += kBackwardStep) {
    block.barrier();
    block.each_thread([&](int thread) {
      load_tile<kD, kBackwardStep>(thread, s, head.k, key, k);
      load_tile<kD, kBackwardStep>(thread, s, head.v, key, v);
    });
    block.barrier();
    block.each_warp([&](int warp) {
      const int at = 16 * warp * kStride;
      if (first + 16 * warp < s.L) rows.of(warp).step(s, first + 16 * warp, key, q + at, grad_o + at, k, v);
    });
  }
  block.each_warp([&](int warp) {
    if (first + 16 * warp < s.L) rows.of(warp).finish(s, first + 16 * warp, head);
  });
}

// One warp's 16 rows of dk and dv. Scores are transposed here: rows of a tile are keys, columns are rows of q.
template <class Score, int kD, class W>
struct KeyGradient {
  using T = Tiles<W, kD>;
  static constexpr int kScores = kBackwardStep / 8;
  typename T::Accumulator dk[kD / 8], dv[kD / 8];

  UVIC_HD void begin() {
    T::clear(dk);
    T::clear(dv);
  }

  UVIC_HD void step(const AttentionSize& s, const BackwardHead& head, int64_t key, int64_t row, const bf16* k,
                    const bf16* v, const bf16* q, const bf16* grad_o) {
    const int groups = groups_of<kBackwardStep>(row, s.L);
    if (s.causal && row + kBackwardStep <= key) return;
    typename T::Accumulator z[kScores], g[kScores];
    T::scores(k, q, groups, z);
    T::scores(v, grad_o, groups, g);
    typename T::Fragment weights[kScores / 2], dz[kScores / 2];
    W::each_lane([&](int lane) {
      // Columns, counted from the lane's first one on: how many there are, and the first that sees each of the lane's
      // keys. Keys behind L are zeros, and what they get is not stored.
      const int64_t column = row + tile_column(lane, 0);
      const int exist = static_cast<int>(smaller(s.L - column, kBackwardStep));
      int from[2];
      UVIC_UNROLL
      for (int half = 0; half < 2; ++half) {
        const int64_t here = key + tile_row(lane, 2 * half);
        from[half] = s.causal && here > column ? static_cast<int>(here - column) : 0;
      }
      UVIC_UNROLL
      for (int n = 0; n < kScores; ++n) {
        float w[2][2], d[2][2];
        UVIC_UNROLL
        for (int j = 0; j < 2; ++j) {
          const int at = 8 * n + j;
          const float delta = at < exist ? head.delta[column + at] : 0.0f;
          const float stat = at < exist ? head.stat[column + at] : 0.0f;
          UVIC_UNROLL
          for (int half = 0; half < 2; ++half) {
            const int i = 2 * half + j;
            ScoreGradient both{0, 0};
            if (at < exist && at >= from[half])
              both = score_gradient<Score, W>(z[n].of(lane)[i] * s.scale, g[n].of(lane)[i], delta, stat);
            w[half][j] = both.w;
            d[half][j] = both.dz;
          }
        }
        UVIC_UNROLL
        for (int half = 0; half < 2; ++half) {
          T::put(weights[n / 2], lane, n, half, w[half][0], w[half][1]);
          T::put(dz[n / 2], lane, n, half, d[half][0], d[half][1]);
        }
      }
    });
    T::add_product(weights, grad_o, groups, dv);
    T::add_product(dz, q, groups, dk);
  }

  UVIC_HD void finish(const AttentionSize& s, int64_t key, const BackwardHead& head) {
    typename W::template Registers<float, 2> scale, one;
    W::each_lane([&](int lane) {
      scale.of(lane)[0] = scale.of(lane)[1] = s.scale;
      one.of(lane)[0] = one.of(lane)[1] = 1;
    });
    T::store(dk, scale, s, key, head.dk);
    T::store(dv, one, s, key, head.dv);
  }
};

template <class Score, int kD, class Block>
UVIC_HD void key_gradient_block(Block& block, const AttentionSize& s, const BackwardHead& head, int64_t first,
                                bf16* shared) {
  constexpr int kStride = kTileStride<kD>;
  bf16 *k = shared, *v = k + kOwn * kStride, *q = v + kOwn * kStride, *grad_o = q + kBackwardStep * kStride;
  typename Block::template PerWarp<KeyGradient<Score, kD, typename Block::Warp>> keys;
  block.each_thread([&](int thread) {
    load_tile<kD, kOwn>(thread, s, head.k, first, k);
    load_tile<kD, kOwn>(thread, s, head.v, first, v);
  });
  block.each_warp([&](int warp) { keys.of(warp).begin(); });
  // Rows before the first key do not see it; first is a multiple of the step.
  for (int64_t row = s.causal ? first : 0; row < s.L; row += kBackwardStep) {
    block.barrier();
    block.each_thread([&](int thread) {
      load_tile<kD, kBackwardStep>(thread, s, head.q, row, q);
      load_tile<kD, kBackwardStep>(thread, s, head.grad_o, row, grad_o);
    });
    block.barrier();
    block.each_warp([&](int warp) {
      const int at = 16 * warp * kStride;
      if (first + 16 * warp < s.L) keys.of(warp).step(s, head, first + 16 * warp, row, k + at, v + at, q, grad_o);
    });
  }
  block.each_warp([&](int warp) {
    if (first + 16 * warp < s.L) keys.of(warp).finish(s, first + 16 * warp, head);
  });
}

}  // namespace uvic::cuda
