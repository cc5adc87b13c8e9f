#pragma once

// Attention by plain loops in double: the definition of right. Each kind is spelled out on its own, on purpose, and
// shares nothing with the kernels.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "kernels/ops/attention_score.h"

namespace uvic::reference {

struct AttentionCase {
  int64_t B, L, H, D;
  AttentionKind kind;
  double scale;
  bool causal;
};

// One row: weights of the first n keys from their scores z = scale q k^T.
inline std::vector<double> attention_weights(AttentionKind kind, const std::vector<double>& z) {
  std::vector<double> w(z.size());
  double m = -std::numeric_limits<double>::infinity(), total = 0;
  switch (kind) {
    case AttentionKind::softmax:
      for (const double x : z) m = std::max(m, x);
      for (const double x : z) total += std::exp(x - m);
      for (size_t j = 0; j < z.size(); ++j) w[j] = std::exp(z[j] - m) / total;
      break;
    case AttentionKind::cog:
      for (const double x : z) m = std::max(m, std::abs(x));
      for (const double x : z) total += std::exp(std::abs(x) - m);
      for (size_t j = 0; j < z.size(); ++j)
        w[j] = z[j] == 0 ? 0 : (z[j] > 0 ? 1 : -1) * std::exp(std::abs(z[j]) - m) / total;
      break;
    case AttentionKind::expressive:
      for (const double x : z) total += x * x / (1 + x * x);
      for (size_t j = 0; j < z.size(); ++j) w[j] = total == 0 ? 0 : z[j] * z[j] / (1 + z[j] * z[j]) / total;
      break;
  }
  return w;
}

// What forward saves of a row: log of the sum of exponentials, or the sum of f.
inline double attention_stat(AttentionKind kind, const std::vector<double>& z) {
  double m = -std::numeric_limits<double>::infinity(), total = 0;
  for (const double x : z) m = std::max(m, kind == AttentionKind::cog ? std::abs(x) : x);
  for (const double x : z) {
    switch (kind) {
      case AttentionKind::softmax: total += std::exp(x - m); break;
      case AttentionKind::cog: total += std::exp(std::abs(x) - m); break;
      case AttentionKind::expressive: total += x * x / (1 + x * x); break;
    }
  }
  return kind == AttentionKind::expressive ? total : m + std::log(total);
}

// dL/dz of one row, from g_j = dO . v_j.
inline std::vector<double> attention_score_gradient(AttentionKind kind, const std::vector<double>& z,
                                                    const std::vector<double>& g) {
  const std::vector<double> w = attention_weights(kind, z);
  std::vector<double> dz(z.size());
  double wg = 0, total = 0;
  for (size_t j = 0; j < z.size(); ++j) wg += w[j] * g[j];
  switch (kind) {
    case AttentionKind::softmax:
      for (size_t j = 0; j < z.size(); ++j) dz[j] = w[j] * (g[j] - wg);
      break;
    case AttentionKind::cog:  // w = s u: dz = s u (s g - sum_k u_k s_k g_k)
      for (size_t j = 0; j < z.size(); ++j) {
        const double s = z[j] > 0 ? 1 : z[j] < 0 ? -1 : 0;
        dz[j] = w[j] * (s * g[j] - wg);
      }
      break;
    case AttentionKind::expressive:
      for (const double x : z) total += x * x / (1 + x * x);
      for (size_t j = 0; j < z.size(); ++j) {
        const double slope = 2 * z[j] / ((1 + z[j] * z[j]) * (1 + z[j] * z[j]));
        dz[j] = total == 0 ? 0 : (g[j] - wg) / total * slope;
      }
      break;
  }
  return dz;
}

// Element (image b, token l, part 0 = q, 1 = k, 2 = v, head h) of qkv, and (b, l, h) of o.
inline int64_t qkv_at(const AttentionCase& c, int64_t b, int64_t l, int64_t part, int64_t h) {
  return (((b * c.L + l) * 3 + part) * c.H + h) * c.D;
}
inline int64_t o_at(const AttentionCase& c, int64_t b, int64_t l, int64_t h) { return ((b * c.L + l) * c.H + h) * c.D; }

inline double dot(const double* a, const double* b, int64_t n) {
  double total = 0;
  for (int64_t d = 0; d < n; ++d) total += a[d] * b[d];
  return total;
}

inline std::vector<double> attention_scores(const AttentionCase& c, const std::vector<double>& qkv, int64_t b,
                                            int64_t h, int64_t i) {
  std::vector<double> z;
  for (int64_t j = 0; j < (c.causal ? i + 1 : c.L); ++j)
    z.push_back(c.scale * dot(&qkv[qkv_at(c, b, i, 0, h)], &qkv[qkv_at(c, b, j, 1, h)], c.D));
  return z;
}

// o [B, L, H, D]
inline std::vector<double> attention_forward(const AttentionCase& c, const std::vector<double>& qkv) {
  std::vector<double> o(static_cast<size_t>(c.B * c.L * c.H * c.D));
  for (int64_t b = 0; b < c.B; ++b)
    for (int64_t h = 0; h < c.H; ++h)
      for (int64_t i = 0; i < c.L; ++i) {
        const std::vector<double> w = attention_weights(c.kind, attention_scores(c, qkv, b, h, i));
        for (size_t j = 0; j < w.size(); ++j)
          for (int64_t d = 0; d < c.D; ++d)
            o[o_at(c, b, i, h) + d] += w[j] * qkv[qkv_at(c, b, static_cast<int64_t>(j), 2, h) + d];
      }
  return o;
}

// dqkv [B, L, 3, H, D]
inline std::vector<double> attention_backward(const AttentionCase& c, const std::vector<double>& qkv,
                                              const std::vector<double>& grad_o) {
  std::vector<double> dqkv(qkv.size());
  for (int64_t b = 0; b < c.B; ++b)
    for (int64_t h = 0; h < c.H; ++h)
      for (int64_t i = 0; i < c.L; ++i) {
        const std::vector<double> z = attention_scores(c, qkv, b, h, i), w = attention_weights(c.kind, z);
        std::vector<double> g;
        for (size_t j = 0; j < z.size(); ++j)
          g.push_back(dot(&grad_o[o_at(c, b, i, h)], &qkv[qkv_at(c, b, static_cast<int64_t>(j), 2, h)], c.D));
        const std::vector<double> dz = attention_score_gradient(c.kind, z, g);
        for (size_t j = 0; j < z.size(); ++j) {
          const int64_t q = qkv_at(c, b, i, 0, h), k = qkv_at(c, b, static_cast<int64_t>(j), 1, h);
          const int64_t v = qkv_at(c, b, static_cast<int64_t>(j), 2, h);
          for (int64_t d = 0; d < c.D; ++d) {
            dqkv[q + d] += c.scale * dz[j] * qkv[k + d];
            dqkv[k + d] += c.scale * dz[j] * qkv[q + d];
            dqkv[v + d] += w[j] * grad_o[o_at(c, b, i, h) + d];
          }
        }
      }
  return dqkv;
}

}  // namespace uvic::reference
