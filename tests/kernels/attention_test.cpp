#include "kernels/ops/attention.h"

#include <numeric>

#include "tests/kernels/attention_case.h"

namespace uvic::test {
namespace {

// ---- against the plain loops -------------------------------------------------------------------------------------
class AttentionTest : public ::testing::TestWithParam<Where> {
 protected:
  void expect_matches(int64_t B, int64_t L, int64_t H, int64_t D, bool causal = false) {
    for (const AttentionKind kind : kKinds) {
      SCOPED_TRACE(concat(name_of(kind), " B ", B, " L ", L, " H ", H, " D ", D, causal ? " causal" : ""));
      const AttentionCase c{B, L, H, D, kind, own_scale(kind, D), causal};
      const AttentionData data(c, GetParam().dtype, static_cast<uint64_t>(1000 * L + D));
      Context ctx = context(GetParam());
      const AttentionResult got = run(ctx, data);
      expect_close(data, got, op_tolerance(DType::f32));
    }
  }
};
INSTANTIATE_TEST_SUITE_P(Everywhere, AttentionTest, ::testing::ValuesIn(everywhere_and_gpu()), where_name);

TEST_P(AttentionTest, ShapesOfTheModels) {
  expect_matches(1, 257, 2, 64);
  expect_matches(1, 258, 1, 72);
  expect_matches(2, 66, 2, 32);
  expect_matches(1, 334, 1, 64);
}

TEST_P(AttentionTest, OddShapes) {
  expect_matches(2, 1, 2, 1);
  expect_matches(1, 2, 3, 7);
  expect_matches(1, 17, 2, 33);
  expect_matches(1, 31, 1, 127);
  expect_matches(1, 33, 1, 80);
  expect_matches(1, 65, 2, 96);
  expect_matches(1, 97, 1, 128);
  expect_matches(1, 65, 2, 5);
}

TEST_P(AttentionTest, Causal) {
  expect_matches(1, 33, 2, 64, true);
  expect_matches(1, 97, 1, 40, true);
  expect_matches(1, 130, 1, 16, true);
}

// Rows of q and of k that are 0 make scores of 0: no weight for cog and expressive, and no NaN for any kind.
TEST_P(AttentionTest, ZeroRows) {
  for (const AttentionKind kind : kKinds)
    for (const bool causal : {false, true}) {
      SCOPED_TRACE(name_of(kind));
      AttentionData data({1, 40, 2, 24, kind, own_scale(kind, 24), causal}, GetParam().dtype, 5);
      std::vector<double> x = values(data.qkv.tensor);
      const auto clear = [&](int64_t row, int64_t part, int64_t h, double zero) {
        const auto at = x.begin() + reference::qkv_at(data.c, 0, row, part, h);
        std::fill(at, at + data.c.D, zero);
      };
      for (const int64_t row : {0, 7, 39}) clear(row, 0, 0, row == 7 ? -0.0 : 0.0);
      for (const int64_t row : {0, 3, 16, 17}) clear(row, 1, row % 2, 0.0);
      assign(data.qkv.tensor, x);
      data.compute();
      Context ctx = context(GetParam());
      const AttentionResult got = run(ctx, data);
      expect_close(data, got, op_tolerance(DType::f32));
      if (kind == AttentionKind::softmax) continue;
      for (int64_t d = 0; d < data.c.D; ++d) {
        EXPECT_EQ(got.o[static_cast<size_t>(reference::o_at(data.c, 0, 7, 0) + d)], 0);
        EXPECT_EQ(got.dqkv[static_cast<size_t>(reference::qkv_at(data.c, 0, 7, 0, 0) + d)], 0);
      }
    }
}

// Scores of some hundreds, where a weight is exact only to the rounding of its score: 300 has an ulp of 3e-5.
TEST_P(AttentionTest, LargeScores) {
  for (const AttentionKind kind : {AttentionKind::softmax, AttentionKind::cog}) {
    SCOPED_TRACE(name_of(kind));
    const AttentionData data({1, 48, 1, 32, kind, own_scale(kind, 32), false}, GetParam().dtype, 8, 18);
    EXPECT_GT(*std::max_element(data.stat.begin(), data.stat.end()), 300);
    Context ctx = context(GetParam());
    expect_close(data, run(ctx, data), 3e-5);
  }
}

// Beyond any sense: the result is what rounding makes of it, but it is a number.
TEST_P(AttentionTest, HugeAndTinyInputsGiveNumbers) {
  for (const AttentionKind kind : kKinds)
    for (const double size : {1e8, 1e3, 1e-8, 1e-18}) {
      SCOPED_TRACE(concat(name_of(kind), " ", size));
      const AttentionData data({1, 37, 1, 20, kind, own_scale(kind, 20), false}, GetParam().dtype, 9, size);
      Context ctx = context(GetParam());
      const AttentionResult got = run(ctx, data);
      for (const auto* values : {&got.o, &got.stat, &got.dqkv})
        for (const double x : *values) ASSERT_TRUE(std::isfinite(x));
      for (const double x : got.o) ASSERT_LE(std::abs(x), 1.01 * size);  // a mean of v, with signs
    }
}

TEST_P(AttentionTest, ScaleIsTakenWhereGiven) {
  for (const AttentionKind kind : kKinds) {
    const AttentionData data({1, 21, 2, 16, kind, 0.7, false}, GetParam().dtype, 10);
    AttentionArgs args = data.args();
    args.scale = 0.7f;
    const OwnedTensor o(host(), GetParam().dtype, {1, 21, 2, 16});
    Context ctx = context(GetParam());
    attention_forward(ctx, args, o.tensor);
    EXPECT_CLOSE_MAX(values(o.tensor), data.o, op_tolerance(GetParam().dtype));
  }
}

// ---- the definition of right -------------------------------------------------------------------------------------
// Central differences of sum(o . grad_o): the only proof of the plain backward that needs no second backward.
TEST(AttentionReference, BackwardIsTheDerivative) {
  for (const AttentionKind kind : kKinds)
    for (const bool causal : {false, true}) {
      const AttentionData data({1, 6, 2, 5, kind, 0.8, causal}, DType::f32, 12);
      std::vector<double> x = values(data.qkv.tensor);
      const std::vector<double> grad_o = values(data.grad_o.tensor);
      const auto loss = [&] {
        const std::vector<double> o = reference::attention_forward(data.c, x);
        return std::inner_product(o.begin(), o.end(), grad_o.begin(), 0.0);
      };
      const double step = 1e-6;
      std::vector<double> slopes;
      for (double& element : x) {
        const double here = element;
        element = here + step;
        const double above = loss();
        element = here - step;
        const double below = loss();
        element = here;
        slopes.push_back((above - below) / (2 * step));
      }
      SCOPED_TRACE(name_of(kind));
      EXPECT_CLOSE_MAX(data.dqkv, slopes, 1e-8);
    }
}

}  // namespace
}  // namespace uvic::test
