#include "kernels/ops/attention.h"

#include "tests/check.h"
#include "tests/reference/attention.h"

namespace uvic::test {
namespace {

using reference::AttentionCase;

constexpr AttentionKind kKinds[] = {AttentionKind::softmax, AttentionKind::cog, AttentionKind::expressive};

double own_scale(AttentionKind kind, int64_t D) {
  return kind == AttentionKind::expressive ? 1 : 1 / std::sqrt(static_cast<double>(D));
}

// Size of inputs that gives every kind and width the same spread of scores, about 1.3.
double input_size(AttentionKind kind, int64_t D) {
  return kind == AttentionKind::expressive ? 2 * std::pow(static_cast<double>(D), -0.25) : 2;
}

// Inputs and what must come of them. Cog attention jumps where a score is 0, so a score that rounding could push across
// 0 would make the truth itself doubtful: rows of q that have one are drawn again.
struct Data {
  AttentionCase c;
  OwnedTensor qkv, grad_o;
  std::vector<double> o, dqkv;

  Data(AttentionCase shape, DType dtype, uint64_t seed, double size = 0) : c(shape) {
    if (size == 0) size = input_size(c.kind, c.D);
    qkv = random_tensor(dtype, {c.B, c.L, 3, c.H, c.D}, seed, size);
    grad_o = random_tensor(dtype, {c.B, c.L, c.H, c.D}, seed + 1);
    std::vector<double> x = values(qkv.tensor);
    for (int64_t b = 0; b < c.B; ++b)
      for (int64_t h = 0; h < c.H; ++h)
        for (int64_t i = 0; i < c.L; ++i)
          for (uint64_t again = 0; doubtful(reference::attention_scores(c, x, b, h, i)); ++again) {
            const uint64_t row = static_cast<uint64_t>((b * c.H + h) * c.L + i);
            const OwnedTensor q = random_tensor(dtype, {c.D}, seed + 1000 * (row + 1) + again, size);
            const std::vector<double> fresh = values(q.tensor);
            std::copy(fresh.begin(), fresh.end(), x.begin() + reference::qkv_at(c, b, i, 0, h));
          }
    assign(qkv.tensor, x);
    compute();
  }

  void compute() {
    o = reference::attention_forward(c, values(qkv.tensor));
    dqkv = reference::attention_backward(c, values(qkv.tensor), values(grad_o.tensor));
  }

  AttentionArgs args() const { return {.qkv = qkv.tensor, .kind = c.kind, .causal = c.causal}; }

 private:
  static bool doubtful(const std::vector<double>& scores) {
    return std::any_of(scores.begin(), scores.end(), [](double z) { return z != 0 && std::abs(z) < 1e-5; });
  }
};

struct Result {
  std::vector<double> o, stat, dqkv;
};

// Outputs start as NaN: an element that is not written shows.
Result run(Context& ctx, const Data& data) {
  const AttentionCase& c = data.c;
  const auto unwritten = [](DType dtype, Shape shape) {
    return tensor_of(dtype, shape, std::vector<double>(static_cast<size_t>(shape.numel()), std::nan("")));
  };
  const OwnedTensor o = unwritten(data.qkv.tensor.dtype(), data.grad_o.tensor.shape());
  const OwnedTensor stat = unwritten(DType::f32, {c.B, c.H, c.L});
  const OwnedTensor dqkv = unwritten(data.qkv.tensor.dtype(), data.qkv.tensor.shape());
  attention_forward(ctx, data.args(), o.tensor, stat.tensor);
  attention_backward(ctx, data.args(), o.tensor, stat.tensor, data.grad_o.tensor, dqkv.tensor);
  return {values(o.tensor), values(stat.tensor), values(dqkv.tensor)};
}

// Part 0, 1 or 2 (q, k, v) of [B, L, 3, H, D].
std::vector<double> part_of(const AttentionCase& c, const std::vector<double>& qkv, int64_t part) {
  std::vector<double> x;
  for (int64_t row = 0; row < c.B * c.L; ++row) {
    const auto begin = qkv.begin() + (row * 3 + part) * c.H * c.D;
    x.insert(x.end(), begin, begin + c.H * c.D);
  }
  return x;
}

void expect_close(const Data& data, const Result& got, double tolerance) {
  EXPECT_CLOSE_MAX(got.o, data.o, tolerance);
  for (int64_t part = 0; part < 3; ++part) {
    SCOPED_TRACE(part == 0 ? "dq" : part == 1 ? "dk" : "dv");
    EXPECT_CLOSE_MAX(part_of(data.c, got.dqkv, part), part_of(data.c, data.dqkv, part), tolerance);
  }
}

// ---- against the plain loops -------------------------------------------------------------------------------------
class AttentionTest : public ::testing::TestWithParam<Where> {
 protected:
  void expect_matches(int64_t B, int64_t L, int64_t H, int64_t D, bool causal = false) {
    for (const AttentionKind kind : kKinds) {
      SCOPED_TRACE(concat(name_of(kind), " B ", B, " L ", L, " H ", H, " D ", D, causal ? " causal" : ""));
      const AttentionCase c{B, L, H, D, kind, own_scale(kind, D), causal};
      const Data data(c, GetParam().dtype, static_cast<uint64_t>(1000 * L + D));
      Context ctx = context(GetParam());
      const Result got = run(ctx, data);
      expect_close(data, got, op_tolerance(GetParam().dtype));
    }
  }
};
INSTANTIATE_TEST_SUITE_P(Everywhere, AttentionTest, ::testing::ValuesIn(everywhere()), where_name);

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
  expect_matches(1, 33, 1, 128);
  expect_matches(1, 65, 2, 5);
}

TEST_P(AttentionTest, Causal) {
  expect_matches(1, 33, 2, 64, true);
  expect_matches(1, 97, 1, 40, true);
  expect_matches(1, 130, 1, 16, true);
}

}  // namespace
}  // namespace uvic::test
