#pragma once

// conv2d as plain loops in double: the definition of right.

#include <cstdint>
#include <vector>

namespace uvic::reference {

struct Conv2d {
  int64_t B = 0, C = 0, M = 0, h = 0, w = 0, k = 0;
  std::vector<double> x, weight, b;  // [B, C, h, w], [M, C, k, k], [M]

  // Calls f(index into x, into weight, into y) for every product that counts.
  template <class F>
  void for_each_product(const F& f) const {
    for (int64_t n = 0; n < B; ++n)
      for (int64_t m = 0; m < M; ++m)
        for (int64_t i = 0; i < h; ++i)
          for (int64_t j = 0; j < w; ++j)
            for (int64_t c = 0; c < C; ++c)
              for (int64_t ky = 0; ky < k; ++ky)
                for (int64_t kx = 0; kx < k; ++kx) {
                  const int64_t row = i + ky - k / 2, column = j + kx - k / 2;
                  if (row < 0 || row >= h || column < 0 || column >= w) continue;
                  f(static_cast<size_t>(((n * C + c) * h + row) * w + column),
                    static_cast<size_t>(((m * C + c) * k + ky) * k + kx),
                    static_cast<size_t>(((n * M + m) * h + i) * w + j));
                }
  }
  size_t channel_of(size_t y) const { return y / static_cast<size_t>(h * w) % static_cast<size_t>(M); }
};

inline std::vector<double> conv2d_forward(const Conv2d& a) {
  std::vector<double> y(static_cast<size_t>(a.B * a.M * a.h * a.w));
  for (size_t i = 0; i < y.size(); ++i) y[i] = a.b[a.channel_of(i)];
  a.for_each_product([&](size_t x, size_t w, size_t out) { y[out] += a.x[x] * a.weight[w]; });
  return y;
}

struct Conv2dGradients {
  std::vector<double> dx, dw, db;
};

inline Conv2dGradients conv2d_backward(const Conv2d& a, const std::vector<double>& dy) {
  Conv2dGradients out{std::vector<double>(a.x.size()), std::vector<double>(a.weight.size()),
                      std::vector<double>(a.b.size())};
  a.for_each_product([&](size_t x, size_t w, size_t y) {
    out.dx[x] += a.weight[w] * dy[y];
    out.dw[w] += a.x[x] * dy[y];
  });
  for (size_t i = 0; i < dy.size(); ++i) out.db[a.channel_of(i)] += dy[i];
  return out;
}

}  // namespace uvic::reference
