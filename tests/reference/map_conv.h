#pragma once

// Convolution and pools with any window as plain loops in double: the definition of right. Images are [B, h, w, C].

#include <algorithm>
#include <cstdint>
#include <vector>

namespace uvic::reference {

struct Images {
  int64_t B = 0, h = 0, w = 0, C = 0;
  std::vector<double> v = {};

  size_t at(int64_t n, int64_t i, int64_t j, int64_t c) const {
    return static_cast<size_t>(((n * h + i) * w + j) * C + c);
  }
  bool inside(int64_t i, int64_t j) const { return i >= 0 && i < h && j >= 0 && j < w; }
};

struct Sliding {
  int64_t kh, kw, stride, pad_h, pad_w, h, w;  // h, w: of the result

  // Calls f(n, i, j, ky, kx, row, column) for each tap of each window that lies inside x.
  template <class F>
  void for_each(const Images& x, const F& f) const {
    for (int64_t n = 0; n < x.B; ++n)
      for (int64_t i = 0; i < h; ++i)
        for (int64_t j = 0; j < w; ++j)
          for (int64_t ky = 0; ky < kh; ++ky)
            for (int64_t kx = 0; kx < kw; ++kx) {
              const int64_t row = i * stride - pad_h + ky, column = j * stride - pad_w + kx;
              if (x.inside(row, column)) f(n, i, j, ky, kx, row, column);
            }
  }
};

// weight [M, C, kh, kw], b [M].
inline Images map_conv(const Images& x, const Sliding& s, const std::vector<double>& weight,
                       const std::vector<double>& b, bool relu) {
  const int64_t M = static_cast<int64_t>(b.size());
  Images y{x.B, s.h, s.w, M};
  for (int64_t p = 0; p < x.B * s.h * s.w; ++p) y.v.insert(y.v.end(), b.begin(), b.end());
  s.for_each(x, [&](int64_t n, int64_t i, int64_t j, int64_t ky, int64_t kx, int64_t row, int64_t column) {
    for (int64_t m = 0; m < M; ++m)
      for (int64_t c = 0; c < x.C; ++c)
        y.v[y.at(n, i, j, m)] +=
            x.v[x.at(n, row, column, c)] * weight[static_cast<size_t>(((m * x.C + c) * s.kh + ky) * s.kw + kx)];
  });
  if (relu)
    for (double& v : y.v) v = std::max(0.0, v);
  return y;
}

inline Images max_pool(const Images& x, const Sliding& s) {
  Images y{x.B, s.h, s.w, x.C, std::vector<double>(static_cast<size_t>(x.B * s.h * s.w * x.C), -1e300)};
  s.for_each(x, [&](int64_t n, int64_t i, int64_t j, int64_t, int64_t, int64_t row, int64_t column) {
    for (int64_t c = 0; c < x.C; ++c)
      y.v[y.at(n, i, j, c)] = std::max(y.v[y.at(n, i, j, c)], x.v[x.at(n, row, column, c)]);
  });
  return y;
}

// relu(mean + b)
inline Images average_pool(const Images& x, const Sliding& s, const std::vector<double>& b) {
  Images y{x.B, s.h, s.w, x.C, std::vector<double>(static_cast<size_t>(x.B * s.h * s.w * x.C))};
  std::vector<double> count(y.v.size());
  s.for_each(x, [&](int64_t n, int64_t i, int64_t j, int64_t, int64_t, int64_t row, int64_t column) {
    for (int64_t c = 0; c < x.C; ++c) {
      y.v[y.at(n, i, j, c)] += x.v[x.at(n, row, column, c)];
      ++count[y.at(n, i, j, c)];
    }
  });
  for (size_t i = 0; i < y.v.size(); ++i) y.v[i] = std::max(0.0, y.v[i] / count[i] + b[i % b.size()]);
  return y;
}

}  // namespace uvic::reference
