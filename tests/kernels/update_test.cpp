#include "kernels/ops/update.h"

#include <array>
#include <bit>
#include <cstring>
#include <limits>

#include "kernels/ops/pointwise.h"
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

TEST_P(UpdateTest, SquaredNormCanStayOnTheDevice) {
  for (const int64_t n : {int64_t{1}, int64_t{100003}}) {
    const OwnedTensor x = random_tensor(DType::f32, {n}, 1), square(ctx.device(), DType::f64, {1});
    squared_norm(ctx, x.tensor, square.tensor);
    EXPECT_EQ(values(square.tensor)[0], squared_norm(ctx, x.tensor));
  }
}

// ---- what a sweep reads ------------------------------------------------------------------------------------------
class SweepTest : public UpdateTest {
 protected:
  SweepScalars scalars() const {
    SweepScalars s;
    const OwnedTensor here({}, DType::f32, {kSweepScalars});
    copy(ctx.device(), sweep.tensor, {}, here.tensor);
    std::memcpy(&s, here.tensor.raw(), sizeof s);
    return s;
  }
  void clip_at(double square, double max_norm) {
    const OwnedTensor here = tensor_of(DType::f64, {1}, {square});
    clip(ctx, here.tensor, max_norm, sweep.tensor);
    settle();
  }
  const OwnedTensor sweep{ctx.device(), DType::f32, {kSweepScalars}};
};
INSTANTIATE_TEST_SUITE_P(Everywhere, SweepTest, ::testing::ValuesIn(everywhere_and_gpu({DType::f32})), where_name);

TEST_P(SweepTest, RatesAreTheStepsOwn) {
  clip_at(16, 1);
  set_rates(ctx, {.lr = 1e-3, .beta1 = 0.9, .beta2 = 0.99, .weight_decay = 0.03, .step = 3}, sweep.tensor);
  const SweepScalars s = scalars();
  EXPECT_EQ(s.decay, float(1 - 1e-3 * 0.03));
  EXPECT_EQ(s.root_correction2, float(std::sqrt(1 - std::pow(0.99, 3.0))));
  EXPECT_EQ(s.step_size, float(1e-3 / (1 - std::pow(0.9, 3.0))));
  EXPECT_EQ(s.grad_scale, 0.25f);  // clip's alone
}

TEST_P(SweepTest, ClipsWhatIsLongerThanTheLimit) {
  for (const auto& [square, max_norm, want] : {std::array{9.0, 0.7, 0.7 / 3},
                                               {9.0, 3.0, 1.0},
                                               {9.0, 3.5, 1.0},
                                               {9.0, 0.0, 1.0},
                                               {0.0, 1.0, 1.0},
                                               {1e60, 1.0, 1e-30}}) {
    clip_at(square, max_norm);
    EXPECT_EQ(scalars().grad_scale, float(want)) << square << " " << max_norm;
    EXPECT_EQ(scalars().stopped, 0);
  }
}

TEST_P(SweepTest, WhatIsNotFiniteStopsItForGood) {
  for (const double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    for (const bool in_square : {true, false}) {
      SCOPED_TRACE(concat(bad, in_square));
      zero(ctx, sweep.tensor);
      OwnedTensor x = random_tensor(DType::f32, {1003}, 1);
      stop_unless_finite(ctx, x.tensor, sweep.tensor);
      EXPECT_EQ(scalars().stopped, 0);
      if (in_square) {
        clip_at(bad, 1);
      } else {
        settle();
        x.tensor.data<float>()[1001] = -static_cast<float>(bad);
        stop_unless_finite(ctx, x.tensor, sweep.tensor);
      }
      EXPECT_EQ(scalars().stopped, 1);
      clip_at(9, 1);
      set_rates(ctx, {}, sweep.tensor);
      EXPECT_EQ(scalars().stopped, 1);
    }
  }
}

// torch.optim.AdamW's formulas, one element at a time in T, then the average.
struct AdamWCase : AdamWArgs {
  double grad_scale = 1;  // of a gradient that is clipped
};
template <class T>
struct PlainAdamW {
  AdamWCase a;
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

constexpr AdamWCase kArgs = {{.lr = 2e-3, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8, .weight_decay = 0.03}, 0.7};

// A gradient's norm decides its scale: this one has norm 1.
void step(Context& ctx, const AdamWCase& a, Tensor param, Tensor grad, Tensor m, Tensor v,
          std::span<const Average> averages, Tensor working) {
  const OwnedTensor sweep(ctx.device(), DType::f32, {kSweepScalars}), square = tensor_of(DType::f64, {1}, {1.0});
  set_rates(ctx, a, sweep.tensor);
  clip(ctx, square.tensor, a.grad_scale, sweep.tensor);
  adamw_ema(ctx, a, sweep.tensor, param, grad, m, v, averages, working);
  settle();
}

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
    AdamWCase a = kArgs;
    for (a.step = 1; a.step <= 5; ++a.step) {
      const OwnedTensor grad = random_tensor(DType::f32, {n}, 10 + uint64_t(a.step));
      const auto g = values(grad.tensor);
      step(ctx, a, s.param.tensor, grad.tensor, s.m.tensor, s.v.tensor, averages, s.working.tensor);
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
  step(ctx, {{.lr = 0.125}}, param.tensor, grad.tensor, m.tensor, v.tensor, {}, {});
  EXPECT_NEAR(at(param.tensor, 0), 0.875, 1e-6);
  EXPECT_NEAR(at(param.tensor, 1), 1.125, 1e-6);
  EXPECT_EQ(at(param.tensor, 2), 1);
}

TEST_P(UpdateTest, OptionalOutputsChangeNothingElse) {
  const int64_t n = 1003;
  const OwnedTensor grad = random_tensor(DType::f32, {n}, 2);
  const State all(n), some(n);
  const Average average{all.ema.tensor, kRate};
  step(ctx, kArgs, all.param.tensor, grad.tensor, all.m.tensor, all.v.tensor, {&average, 1}, all.working.tensor);
  step(ctx, kArgs, some.param.tensor, grad.tensor, some.m.tensor, some.v.tensor, {}, {});
  EXPECT_EQ(values(some.param.tensor), values(all.param.tensor));
  EXPECT_EQ(values(some.m.tensor), values(all.m.tensor));
  EXPECT_EQ(values(some.v.tensor), values(all.v.tensor));
}

TEST_P(UpdateTest, LearningRateZeroMovesMomentsOnly) {
  const OwnedTensor grad = random_tensor(DType::f32, {33}, 2);
  const State s(33);
  const auto before = values(s.param.tensor);
  AdamWCase a = kArgs;
  a.lr = 0;
  step(ctx, a, s.param.tensor, grad.tensor, s.m.tensor, s.v.tensor, {}, s.working.tensor);
  EXPECT_EQ(values(s.param.tensor), before);
  EXPECT_NE(at(s.m.tensor, 0), 0);
}

TEST_P(UpdateTest, AStoppedSweepChangesNothing) {
  for (const int64_t n : {int64_t{33}, int64_t{100003}}) {
    const State s(n);
    const OwnedTensor grad = random_tensor(DType::f32, {n}, 2);
    const OwnedTensor sweep(ctx.device(), DType::f32, {kSweepScalars});
    const OwnedTensor square = tensor_of(DType::f64, {1}, {std::numeric_limits<double>::infinity()});
    const Average average{s.ema.tensor, kRate};
    const Tensor all[] = {s.param.tensor, s.m.tensor, s.v.tensor, s.ema.tensor, s.working.tensor};
    std::vector<std::vector<double>> before;
    for (const Tensor& t : all) before.push_back(values(t));
    set_rates(ctx, kArgs, sweep.tensor);
    clip(ctx, square.tensor, 1, sweep.tensor);
    for (int i = 0; i < 2; ++i) {
      adamw_ema(ctx, kArgs, sweep.tensor, s.param.tensor, grad.tensor, s.m.tensor, s.v.tensor, {&average, 1},
                s.working.tensor);
      for (size_t k = 0; k < before.size(); ++k) EXPECT_EQ(values(all[k]), before[k]) << n << " " << k;
      set_rates(ctx, kArgs, sweep.tensor);  // the next step's
    }
  }
}

TEST_P(UpdateTest, RefusesWrongArguments) {
  const OwnedTensor x(host(), DType::f32, {4}), longer(host(), DType::f32, {5}), half(host(), DType::bf16, {4});
  const OwnedTensor square(host(), DType::f32, {2, 2});
  const OwnedTensor scalars(host(), DType::f32, {kSweepScalars}), square1(host(), DType::f64, {1});
  const Tensor t = x.tensor, s = scalars.tensor;
  AdamWArgs a;
  EXPECT_EQ(error_of([&] { (void)squared_norm(ctx, square.tensor); }), "squared_norm: x is [2, 2], wanted rank 1");
  EXPECT_EQ(error_of([&] { (void)squared_norm(ctx, half.tensor); }), "squared_norm: x is bf16, wanted f32");
  EXPECT_EQ(error_of([&] { adamw_ema(ctx, a, s, t, longer.tensor, t, t, {}, {}); }),
            "adamw_ema: grad is f32 [5], wanted f32 [4]");
  const std::vector<Average> many(5, {t}), wrong{{t}, {half.tensor}};
  EXPECT_EQ(error_of([&] { adamw_ema(ctx, a, s, t, t, t, t, wrong, {}); }),
            "adamw_ema: ema is bf16 [4], wanted f32 [4]");
  EXPECT_EQ(error_of([&] { adamw_ema(ctx, a, s, t, t, t, t, many, {}); }), "adamw_ema: 5 averages, wanted 4 or fewer");
  EXPECT_EQ(error_of([&] { adamw_ema(ctx, a, s, t, t, t, t, {}, t); }),
            "adamw_ema: working is f32 [4], wanted bf16 [4]");
  EXPECT_EQ(error_of([&] { adamw_ema(ctx, a, t, t, t, t, t, {}, {}); }), "adamw_ema: sweep is f32 [4], wanted f32 [5]");
  EXPECT_EQ(error_of([&] { squared_norm(ctx, t, t); }), "squared_norm: square is f32 [4], wanted f64 [1]");
  EXPECT_EQ(error_of([&] { stop_unless_finite(ctx, half.tensor, s); }), "stop_unless_finite: x is bf16, wanted f32");
  EXPECT_EQ(error_of([&] { clip(ctx, t, 1, s); }), "clip: square is f32 [4], wanted f64 [1]");
  EXPECT_EQ(error_of([&] { clip(ctx, square1.tensor, -1, s); }), "clip: max_norm is -1, wanted 0 or more");
  a.step = 0;
  EXPECT_EQ(error_of([&] { set_rates(ctx, a, s); }), "set_rates: step is 0, wanted 1 or more");
  a.step = 1;
  a.beta2 = 1;
  EXPECT_EQ(error_of([&] { set_rates(ctx, a, s); }), "set_rates: betas are 0.9, 1, wanted [0, 1)");
  EXPECT_EQ(error_of([&] { adamw_ema(ctx, a, s, t, t, t, t, {}, {}); }), "adamw_ema: betas are 0.9, 1, wanted [0, 1)");
}

}  // namespace
}  // namespace uvic::test
