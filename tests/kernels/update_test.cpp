#include "kernels/ops/update.h"

#include <bit>
#include <limits>

#include "tests/check.h"

namespace uvic::test {
namespace {

constexpr int64_t kLengths[] = {1, 15, 16, 1003, 100003};  // the last is more than three pieces

class UpdateTest : public ::testing::TestWithParam<Where> {
 protected:
  Context ctx = context(GetParam());
};
INSTANTIATE_TEST_SUITE_P(Everywhere, UpdateTest, ::testing::ValuesIn(everywhere_and_gpu({DType::f32})), where_name);

TEST_P(UpdateTest, SquaredNormIsExactToDoubleRounding) {
  for (const int64_t n : kLengths) {
    const OwnedTensor x = random_tensor(DType::f32, {n}, 1, 3);
    double want = 0;
    for (const double v : values(x.tensor)) want += v * v;
    EXPECT_NEAR(squared_norm(ctx, x.tensor), want, 1e-13 * want) << n;
  }
}

TEST_P(UpdateTest, SquaredNormDoesNotOverflowF32) {
  const OwnedTensor x = tensor_of(DType::f32, {3}, {1e30, 2e30, 2e30});
  EXPECT_NEAR(squared_norm(ctx, x.tensor), 9e60, 1e55);
}

TEST_P(UpdateTest, SquaredNormShowsNan) {
  const OwnedTensor x = random_tensor(DType::f32, {1003}, 1);
  x.tensor.data<float>()[1001] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(std::isnan(squared_norm(ctx, x.tensor)));
}

TEST_P(UpdateTest, SquaredNormIsTheSameBitsAtAnyNumberOfThreadsAndOnAnyInstructionSet) {
  const OwnedTensor x = random_tensor(DType::f32, {300007}, 1);
  const double here = squared_norm(ctx, x.tensor);
  for (const int threads : {1, 2, 3, 7}) {
    Context other({.device = GetParam().device, .threads = threads, .isa = Isa::avx2});
    EXPECT_EQ(std::bit_cast<uint64_t>(squared_norm(other, x.tensor)), std::bit_cast<uint64_t>(here));
  }
}

// torch.optim.AdamW's formulas, one element at a time in T, then the average.
template <class T>
struct PlainAdamW {
  AdamWArgs a;
  void step(T& param, T g, T& m, T& v, T& ema, double ema_rate) const {
    const double t = double(a.step);
    g *= T(a.grad_scale);
    param *= T(1 - a.lr * a.weight_decay);
    m = T(a.beta1) * m + T(1 - a.beta1) * g;
    v = T(a.beta2) * v + T(1 - a.beta2) * g * g;
    const T denominator = std::sqrt(v) / T(std::sqrt(1 - std::pow(a.beta2, t))) + T(a.eps);
    param -= T(a.lr / (1 - std::pow(a.beta1, t))) * m / denominator;
    ema = ema * T(ema_rate) + T(1 - ema_rate) * param;
  }
};

struct State {
  explicit State(int64_t n)
      : param(random_tensor(DType::f32, {n}, 1)),
        m(host(), DType::f32, {n}),
        v(host(), DType::f32, {n}),
        ema(tensor_of(DType::f32, {n}, values(param.tensor))),
        slow(tensor_of(DType::f32, {n}, values(param.tensor))),
        working(random_tensor(DType::bf16, {n}, 3)) {}
  OwnedTensor param, m, v, ema, slow, working;
};

constexpr double kRate = 0.99, kSlowRate = 0.9995;

constexpr AdamWArgs kArgs = {
    .lr = 2e-3, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8, .weight_decay = 0.03, .grad_scale = 0.7};

TEST_P(UpdateTest, FiveStepsAreTheFormulasToTheBitAndNearThoseInDouble) {
  for (const int64_t n : kLengths) {
    SCOPED_TRACE(n);
    const State s(n);
    std::vector<float> param, m(size_t(n), 0.0f), v = m, ema, slow;
    for (const double x : values(s.param.tensor)) param.push_back(float(x));
    ema = slow = param;
    const Average averages[] = {{s.ema.tensor, kRate}, {s.slow.tensor, kSlowRate}};
    std::vector<double> exact(param.begin(), param.end()), exact_m(size_t(n), 0.0), exact_v = exact_m,
                                                                                    exact_ema = exact;
    AdamWArgs a = kArgs;
    for (a.step = 1; a.step <= 5; ++a.step) {
      const OwnedTensor grad = random_tensor(DType::f32, {n}, 10 + uint64_t(a.step));
      const auto g = values(grad.tensor);
      adamw_ema(ctx, a, s.param.tensor, grad.tensor, s.m.tensor, s.v.tensor, averages, s.working.tensor);
      EXPECT_EQ(values(grad.tensor), g);
      for (size_t i = 0; i < size_t(n); ++i) {
        PlainAdamW<float>{a}.step(param[i], float(g[i]), m[i], v[i], ema[i], kRate);
        slow[i] = slow[i] * float(kSlowRate) + float(1 - kSlowRate) * param[i];
        PlainAdamW<double>{a}.step(exact[i], g[i], exact_m[i], exact_v[i], exact_ema[i], kRate);
      }
    }
    const auto same = [&](Tensor got, const std::vector<float>& want) {
      return values(got) == std::vector<double>(want.begin(), want.end());
    };
    EXPECT_TRUE(same(s.param.tensor, param));
    EXPECT_TRUE(same(s.m.tensor, m));
    EXPECT_TRUE(same(s.v.tensor, v));
    EXPECT_TRUE(same(s.ema.tensor, ema));
    EXPECT_TRUE(same(s.slow.tensor, slow));
    for (int64_t i = 0; i < n; ++i)
      ASSERT_EQ(s.working.tensor.data<bf16>()[i].bits, to_bf16(s.param.tensor.data<float>()[i]).bits);
    EXPECT_CLOSE_MAX(values(s.param.tensor), exact, op_tolerance(DType::f32));
    EXPECT_CLOSE_MAX(values(s.m.tensor), exact_m, op_tolerance(DType::f32));
    EXPECT_CLOSE_MAX(values(s.v.tensor), exact_v, op_tolerance(DType::f32));
    EXPECT_CLOSE_MAX(values(s.ema.tensor), exact_ema, op_tolerance(DType::f32));
  }
}

TEST_P(UpdateTest, FirstStepMovesByTheLearningRateAgainstTheGradient) {
  const OwnedTensor param = tensor_of(DType::f32, {3}, {1, 1, 1}), grad = tensor_of(DType::f32, {3}, {5, -0.01, 0});
  const OwnedTensor m(host(), DType::f32, {3}), v(host(), DType::f32, {3});
  adamw_ema(ctx, {.lr = 0.125}, param.tensor, grad.tensor, m.tensor, v.tensor, {}, {});
  EXPECT_NEAR(at(param.tensor, 0), 0.875, 1e-6);
  EXPECT_NEAR(at(param.tensor, 1), 1.125, 1e-6);
  EXPECT_EQ(at(param.tensor, 2), 1);
}

TEST_P(UpdateTest, OptionalOutputsChangeNothingElse) {
  const int64_t n = 1003;
  const OwnedTensor grad = random_tensor(DType::f32, {n}, 2);
  const State all(n), some(n);
  const Average average{all.ema.tensor, kRate};
  adamw_ema(ctx, kArgs, all.param.tensor, grad.tensor, all.m.tensor, all.v.tensor, {&average, 1}, all.working.tensor);
  adamw_ema(ctx, kArgs, some.param.tensor, grad.tensor, some.m.tensor, some.v.tensor, {}, {});
  EXPECT_EQ(values(some.param.tensor), values(all.param.tensor));
  EXPECT_EQ(values(some.m.tensor), values(all.m.tensor));
  EXPECT_EQ(values(some.v.tensor), values(all.v.tensor));
}

TEST_P(UpdateTest, LearningRateZeroMovesMomentsOnly) {
  const OwnedTensor grad = random_tensor(DType::f32, {33}, 2);
  const State s(33);
  const auto before = values(s.param.tensor);
  AdamWArgs a = kArgs;
  a.lr = 0;
  adamw_ema(ctx, a, s.param.tensor, grad.tensor, s.m.tensor, s.v.tensor, {}, s.working.tensor);
  EXPECT_EQ(values(s.param.tensor), before);
  EXPECT_NE(at(s.m.tensor, 0), 0);
}

TEST_P(UpdateTest, RefusesWrongArguments) {
  const OwnedTensor x(host(), DType::f32, {4}), longer(host(), DType::f32, {5}), half(host(), DType::bf16, {4});
  const OwnedTensor square(host(), DType::f32, {2, 2});
  const Tensor t = x.tensor;
  AdamWArgs a;
  EXPECT_EQ(error_of([&] { (void)squared_norm(ctx, square.tensor); }), "squared_norm: x is [2, 2], wanted rank 1");
  EXPECT_EQ(error_of([&] { (void)squared_norm(ctx, half.tensor); }), "squared_norm: x is bf16, wanted f32");
  EXPECT_EQ(error_of([&] { adamw_ema(ctx, a, t, longer.tensor, t, t, {}, {}); }),
            "adamw_ema: grad is f32 [5], wanted f32 [4]");
  const std::vector<Average> many(5, {t}), wrong{{t}, {half.tensor}};
  EXPECT_EQ(error_of([&] { adamw_ema(ctx, a, t, t, t, t, wrong, {}); }), "adamw_ema: ema is bf16 [4], wanted f32 [4]");
  EXPECT_EQ(error_of([&] { adamw_ema(ctx, a, t, t, t, t, many, {}); }), "adamw_ema: 5 averages, wanted 4 or fewer");
  EXPECT_EQ(error_of([&] { adamw_ema(ctx, a, t, t, t, t, {}, t); }), "adamw_ema: working is f32 [4], wanted bf16 [4]");
  a.step = 0;
  EXPECT_EQ(error_of([&] { adamw_ema(ctx, a, t, t, t, t, {}, {}); }), "adamw_ema: step is 0, wanted 1 or more");
  a.step = 1;
  a.beta2 = 1;
  EXPECT_EQ(error_of([&] { adamw_ema(ctx, a, t, t, t, t, {}, {}); }), "adamw_ema: betas are 0.9, 1, wanted [0, 1)");
}

}  // namespace
}  // namespace uvic::test
