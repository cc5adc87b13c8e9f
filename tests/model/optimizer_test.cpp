#include "model/optimizer.h"

#include <limits>

#include "tests/check.h"

namespace uvic::test {
namespace {

TEST(LearningRate, WarmsUpFromZeroAsTheReleasedLambdaDoes) {
  const OptimizerConfig c{.lr = 1e-3, .warmup_steps = 5};
  EXPECT_EQ(learning_rate(c, 1), 0);
  EXPECT_DOUBLE_EQ(learning_rate(c, 2), 2e-4);
  EXPECT_DOUBLE_EQ(learning_rate(c, 5), 8e-4);
  EXPECT_EQ(learning_rate(c, 6), 1e-3);
  EXPECT_EQ(learning_rate(c, 1000000), 1e-3);
}

TEST(LearningRate, WithoutWarmUpTheFirstStepCounts) {
  EXPECT_EQ(learning_rate({.lr = 1e-3, .warmup_steps = 0}, 1), 1e-3);
}

TEST(LearningRate, CosineFallsFromTheEndOfTheWarmUpToZeroAtTheLastStep) {
  const OptimizerConfig c{.lr = 1, .warmup_steps = 10, .lr_schedule = LrSchedule::cosine, .max_steps = 110};
  EXPECT_DOUBLE_EQ(learning_rate(c, 6), 0.5);  // the warm-up is the same
  EXPECT_EQ(learning_rate(c, 11), 1);
  EXPECT_NEAR(learning_rate(c, 61), 0.5, 1e-15);
  EXPECT_NEAR(learning_rate(c, 36), 0.5 * (1 + std::sqrt(0.5)), 1e-15);
  EXPECT_NEAR(learning_rate(c, 111), 0, 1e-15);
  EXPECT_NEAR(learning_rate(c, 500), 0, 1e-15);
}

struct Fixture {
  Context ctx;
  ParamStore store;
  explicit Fixture(const Where& where) : ctx(context(where)), store(where.device) {
    store.add("first", {5}, Init::normal_1);
    store.add("second", {40}, Init::normal_1);
    store.allocate_for_training(where.dtype);
    store.initialise(ctx, 1);
  }
};

class OptimizerTest : public ::testing::TestWithParam<Where> {};

// Adam's first step divides the clipped gradient by its own size, so clipping shows in the moments.
TEST_P(OptimizerTest, ClipsToTheGlobalNorm) {
  Fixture clipped(GetParam()), plain(GetParam());
  const auto gradient = random_tensor(DType::f32, {5}, 2, 10);
  for (Fixture* f : {&clipped, &plain}) assign(f->store.grad(0), values(gradient.tensor));
  OptimizerConfig c{.lr = 1e-2, .warmup_steps = 0};
  const UpdateInfo unclipped = update(plain.ctx, c, 1, plain.store);
  c.grad_clip = unclipped.grad_norm / 4;
  const UpdateInfo info = update(clipped.ctx, c, 1, clipped.store);
  EXPECT_EQ(info.grad_norm, unclipped.grad_norm);  // reported as it was
  EXPECT_EQ(info.lr, 1e-2);
  const auto m = values(clipped.store.view(Role::m, 0)), want = values(plain.store.view(Role::m, 0));
  for (size_t i = 0; i < m.size(); ++i) EXPECT_NEAR(m[i], want[i] / 4, 1e-6 * std::abs(want[i]));
  c.grad_clip = unclipped.grad_norm * 2;  // a norm below the limit is left alone
  Fixture below(GetParam());
  assign(below.store.grad(0), values(gradient.tensor));
  update(below.ctx, c, 1, below.store);
  EXPECT_EQ(values(below.store.flat(Role::master)), values(plain.store.flat(Role::master)));
}

TEST_P(OptimizerTest, AGradientThatIsNotFiniteChangesNothingAndIsNamed) {
  for (const double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    Fixture f(GetParam());
    const auto before = values(f.store.flat(Role::master));
    std::vector<double> gradient(40, 0.5);
    gradient[39] = bad;
    assign(f.store.grad(1), gradient);
    assign(f.store.grad(0), std::vector<double>(5, bad));
    const std::string what = error_of([&] { update(f.ctx, {}, 7, f.store); });
    EXPECT_EQ(what, "step 7: the gradient of second is not finite");
    EXPECT_EQ(values(f.store.flat(Role::master)), before);
    EXPECT_EQ(values(f.store.flat(Role::ema)), before);
    for (const double m : values(f.store.flat(Role::m))) ASSERT_EQ(m, 0);
  }
}

TEST_P(OptimizerTest, WorkingWeightsAreTheRoundedMaster) {
  Fixture f(GetParam());
  assign(f.store.grad(1), std::vector<double>(40, 0.5));
  update(f.ctx, {.lr = 1e-2, .warmup_steps = 0}, 1, f.store);
  const auto master = values(f.store.flat(Role::master)), working = values(f.store.flat(Role::working));
  for (size_t i = 0; i < master.size(); ++i) {
    const float x = static_cast<float>(master[i]);
    EXPECT_EQ(working[i], GetParam().dtype == DType::f32 ? x : to_float(to_bf16(x)));
  }
}

INSTANTIATE_TEST_SUITE_P(Everywhere, OptimizerTest, ::testing::ValuesIn(everywhere_and_gpu()), where_name);

}  // namespace
}  // namespace uvic::test
