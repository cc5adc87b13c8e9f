#pragma once

// LayerNorm as plain loops in double: the definition of right.

#include <cmath>
#include <cstdint>
#include <vector>

namespace uvic::reference {

struct LayerNorm {
  int64_t N = 0, C = 0;
  double eps = 1e-5;
  std::vector<double> x, w, b;  // [N, C], [C], [C]

  size_t at(int64_t n, int64_t c) const { return static_cast<size_t>(n * C + c); }
  double mean(int64_t n) const {
    double sum = 0;
    for (int64_t c = 0; c < C; ++c) sum += x[at(n, c)];
    return sum / static_cast<double>(C);
  }
  double inverse_deviation(int64_t n) const {
    const double m = mean(n);
    double sum = 0;
    for (int64_t c = 0; c < C; ++c) sum += (x[at(n, c)] - m) * (x[at(n, c)] - m);
    return 1 / std::sqrt(sum / static_cast<double>(C) + eps);
  }
};

inline std::vector<double> layernorm_forward(const LayerNorm& l) {
  std::vector<double> y(l.x.size());
  for (int64_t n = 0; n < l.N; ++n) {
    const double mean = l.mean(n), scale = l.inverse_deviation(n);
    for (int64_t c = 0; c < l.C; ++c)
      y[l.at(n, c)] = (l.x[l.at(n, c)] - mean) * scale * l.w[static_cast<size_t>(c)] + l.b[static_cast<size_t>(c)];
  }
  return y;
}

struct LayerNormGradients {
  std::vector<double> dx, dw, db;
};

inline LayerNormGradients layernorm_backward(const LayerNorm& l, const std::vector<double>& dy) {
  const auto channels = static_cast<size_t>(l.C);
  LayerNormGradients out{std::vector<double>(l.x.size()), std::vector<double>(channels), std::vector<double>(channels)};
  for (int64_t n = 0; n < l.N; ++n) {
    const double mean = l.mean(n), scale = l.inverse_deviation(n);
    std::vector<double> xhat(channels), g(channels);
    double mean_g = 0, mean_gx = 0;
    for (size_t c = 0; c < channels; ++c) {
      const size_t i = l.at(n, static_cast<int64_t>(c));
      xhat[c] = (l.x[i] - mean) * scale;
      g[c] = dy[i] * l.w[c];
      mean_g += g[c] / static_cast<double>(l.C);
      mean_gx += g[c] * xhat[c] / static_cast<double>(l.C);
      out.dw[c] += dy[i] * xhat[c];
      out.db[c] += dy[i];
    }
    for (size_t c = 0; c < channels; ++c)
      out.dx[l.at(n, static_cast<int64_t>(c))] = (g[c] - mean_g - xhat[c] * mean_gx) * scale;
  }
  return out;
}

}  // namespace uvic::reference
