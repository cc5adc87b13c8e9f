#pragma once

// The tensors of one call of linear, and where it runs.

#include "kernels/ops/linear.h"
#include "tests/check.h"
#include "tests/reference/linear.h"

namespace uvic::test {

inline constexpr Activation kActivations[] = {Activation::none, Activation::gelu, Activation::silu,
                                              Activation::quick_gelu};

struct LinearSize {
  int64_t N, K, M;
};
inline std::string describe(const LinearSize& s) { return concat("N ", s.N, " K ", s.K, " M ", s.M); }

// The tensors of one call, and the same numbers in double.
struct LinearCase {
  LinearCase(const LinearSize& s, DType dtype, Activation act, bool bias, bool residual)
      : x(random_tensor(dtype, {s.N, s.K}, 1)), w(random_tensor(dtype, {s.M, s.K}, 2, 2 / std::sqrt(double(s.K)))) {
    if (bias) b = random_tensor(dtype, {s.M}, 3);
    if (residual) r = random_tensor(dtype, {s.N, s.M}, 4);
    args = {x.tensor, w.tensor, b.tensor, r.tensor, act, {}};
    want = {s.N, s.K, s.M, values(x.tensor), values(w.tensor), {}, {}, act};
    if (bias) want.b = values(b.tensor);
    if (residual) want.residual = values(r.tensor);
  }
  OwnedTensor x, w, b, r;
  LinearArgs args;
  reference::Linear want;
};

class LinearTest : public ::testing::TestWithParam<Where> {
 protected:
  DType dtype() const { return GetParam().dtype; }
  double tolerance() const { return op_tolerance(dtype()); }
  OwnedTensor tensor(Shape shape) const { return {host(), dtype(), shape}; }
  Context ctx = context(GetParam());
};

}  // namespace uvic::test
