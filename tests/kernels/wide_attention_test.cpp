#include "kernels/ops/wide_attention.h"

#include "tests/check.h"

namespace uvic::test {
namespace {

class WideAttentionTest : public ::testing::TestWithParam<Where> {
 protected:
  Context ctx = context(GetParam());
};
INSTANTIATE_TEST_SUITE_P(Everywhere, WideAttentionTest, ::testing::ValuesIn(everywhere_and_gpu()), where_name);

std::vector<double> reference_attention(const std::vector<double>& q, const std::vector<double>& k,
                                        const std::vector<double>& v, int64_t L, int64_t D, double scale) {
  std::vector<double> o(q.size()), w(static_cast<size_t>(L));
  const auto at = [D](int64_t i, int64_t d) { return static_cast<size_t>(i * D + d); };
  for (int64_t i = 0; i < L; ++i) {
    double top = -1e300, sum = 0;
    for (int64_t j = 0; j < L; ++j) {
      double& z = w[static_cast<size_t>(j)] = 0;
      for (int64_t d = 0; d < D; ++d) z += scale * q[at(i, d)] * k[at(j, d)];
      top = std::max(top, z);
    }
    for (double& z : w) sum += z = std::exp(z - top);
    for (int64_t j = 0; j < L; ++j)
      for (int64_t d = 0; d < D; ++d) o[at(i, d)] += w[static_cast<size_t>(j)] / sum * v[at(j, d)];
  }
  return o;
}

// One token, a ragged tail behind a block of rows, widths above what heads have, and scores large enough to overflow an
// exp that forgets to subtract the largest.
TEST_P(WideAttentionTest, MatchesReference) {
  struct Case {
    int64_t L, D;
    float scale;
    double size;
  };
  for (const Case& c : {Case{1, 32, 0, 1}, {17, 48, 0, 1}, {300, 160, 0.1f, 1}, {70, 512, 0, 1}, {33, 64, 1, 4}}) {
    SCOPED_TRACE(concat(c.L, " x ", c.D));
    const DType dtype = GetParam().dtype;
    const OwnedTensor q = random_tensor(dtype, {c.L, c.D}, 1, c.size), k = random_tensor(dtype, {c.L, c.D}, 2, c.size);
    const OwnedTensor v = random_tensor(dtype, {c.L, c.D}, 3), o(host(), DType::f32, {c.L, c.D});
    wide_attention(ctx, {q.tensor, k.tensor, v.tensor, c.scale}, o.tensor);
    const double scale = c.scale > 0 ? static_cast<double>(c.scale) : 1 / std::sqrt(static_cast<double>(c.D));
    EXPECT_CLOSE_MAX(values(o.tensor),
                     reference_attention(values(q.tensor), values(k.tensor), values(v.tensor), c.L, c.D, scale),
                     dtype == DType::f32 ? 2e-5 : op_tolerance(dtype));
  }
}

// Twice the tokens take twice the memory.
TEST_P(WideAttentionTest, MemoryIsLinearInTokens) {
  const auto peak = [&](int64_t L) {
    Context own = context(GetParam());
    const OwnedTensor q = random_tensor(GetParam().dtype, {L, 32}, 1), o(host(), DType::f32, {L, 32});
    wide_attention(own, {q.tensor, q.tensor, q.tensor}, o.tensor);
    return static_cast<double>(own.arena().peak());
  };
  EXPECT_LT(peak(2048), 2.2 * peak(1024));
}

TEST_P(WideAttentionTest, RefusesWrongArguments) {
  const DType dtype = GetParam().dtype;
  const OwnedTensor q(host(), dtype, {4, 8}), k(host(), dtype, {5, 8}), o(host(), DType::f32, {4, 8});
  EXPECT_EQ(error_of([&] {
              wide_attention(ctx, {q.tensor, k.tensor, q.tensor}, o.tensor);
            }),
            concat("wide_attention: k is ", dtype, " [5, 8], wanted ", dtype, " [4, 8]"));
  EXPECT_EQ(error_of([&] {
              wide_attention(ctx, {q.tensor, q.tensor, q.tensor, -1}, o.tensor);
            }),
            "wide_attention: scale is -1, wanted 0 (1/sqrt(D)) or more");
}

}  // namespace
}  // namespace uvic::test
