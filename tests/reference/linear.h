#pragma once

// linear and skip_linear as plain loops in double: the definition of right.

#include <cstdint>
#include <vector>

#include "kernels/ops/activation.h"

namespace uvic::reference {

using Values = std::vector<double>;

// x [N, K], w [M, K], b [M] and residual [N, M]; the last two may be empty.
struct Linear {
  int64_t N = 0, K = 0, M = 0;
  Values x, w, b, residual;
  Activation act = Activation::none;
};

struct LinearResult {
  Values pre, y;  // [N, M]
};

inline LinearResult linear_forward(const Linear& c) {
  LinearResult out{Values(static_cast<size_t>(c.N * c.M)), Values(static_cast<size_t>(c.N * c.M))};
  for (int64_t n = 0; n < c.N; ++n)
    for (int64_t m = 0; m < c.M; ++m) {
      const auto at = static_cast<size_t>(n * c.M + m);
      double sum = c.b.empty() ? 0 : c.b[static_cast<size_t>(m)];
      for (int64_t k = 0; k < c.K; ++k)
        sum += c.x[static_cast<size_t>(n * c.K + k)] * c.w[static_cast<size_t>(m * c.K + k)];
      out.pre[at] = sum;
      out.y[at] = activate(c.act, sum) + (c.residual.empty() ? 0 : c.residual[at]);
    }
  return out;
}

struct LinearGradients {
  Values dx, dw, db;
};

// dy is the gradient of x w^T + b; c's act and residual do not matter. With x_act, x = x_act(x_pre) and dx is
// x_pre's gradient.
inline LinearGradients linear_backward(const Linear& c, const Values& dy, Activation x_act = Activation::none,
                                       const Values& x_pre = {}) {
  LinearGradients g{Values(c.x.size()), Values(c.w.size()), Values(static_cast<size_t>(c.M))};
  for (int64_t n = 0; n < c.N; ++n)
    for (int64_t m = 0; m < c.M; ++m) {
      const double d = dy[static_cast<size_t>(n * c.M + m)];
      g.db[static_cast<size_t>(m)] += d;
      for (int64_t k = 0; k < c.K; ++k) {
        const auto in = static_cast<size_t>(n * c.K + k), weight = static_cast<size_t>(m * c.K + k);
        g.dx[in] += d * c.w[weight];
        g.dw[weight] += d * c.x[in];
      }
    }
  for (size_t i = 0; i < g.dx.size() && x_act != Activation::none; ++i)
    g.dx[i] *= activation_derivative(x_act, x_pre[i]);
  return g;
}

// [a ; b] along columns, both [N, K]: the concatenation that skip_linear never makes.
inline Values joined(const Values& a, const Values& b, int64_t N, int64_t K) {
  Values out;
  for (int64_t n = 0; n < N; ++n) {
    out.insert(out.end(), a.begin() + n * K, a.begin() + (n + 1) * K);
    out.insert(out.end(), b.begin() + n * K, b.begin() + (n + 1) * K);
  }
  return out;
}

}  // namespace uvic::reference
