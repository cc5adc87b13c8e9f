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
  Optimizer optimizer;
  explicit Fixture(const Where& where) : ctx(context(where)), store(where.device), optimizer(ctx, store) {
    store.add("first", {5}, Init::normal_1);
    store.add("second", {40}, Init::normal_1);
    store.allocate_for_training(where.dtype);
    store.initialise(ctx, 1);
  }
};

// What one step did.
struct Done {
  double lr, grad_norm;
};
Done update(Fixture& f, const OptimizerConfig& config, int64_t step) {
  const double lr = f.optimizer.begin(f.ctx, config, step);
  f.optimizer.update(f.ctx, config);
  f.optimizer.check_gradient(f.ctx, step);
  return {lr, std::sqrt(values(f.optimizer.squared_grad_norm())[0])};
}

class OptimizerTest : public ::testing::TestWithParam<Where> {};

// Adam's first step divides the clipped gradient by its own size, so clipping shows in the moments.
TEST_P(OptimizerTest, ClipsToTheGlobalNorm) {
  Fixture clipped(GetParam()), plain(GetParam());
  const auto gradient = random_tensor(DType::f32, {5}, 2, 10);
  for (Fixture* f : {&clipped, &plain}) assign(f->store.grad(0), values(gradient.tensor));
  OptimizerConfig c{.lr = 1e-2, .warmup_steps = 0};
  const Done unclipped = update(plain, c, 1);
  c.grad_clip = unclipped.grad_norm / 4;
  const Done info = update(clipped, c, 1);
  EXPECT_EQ(info.grad_norm, unclipped.grad_norm);  // reported as it was
  EXPECT_EQ(info.lr, 1e-2);
  const auto m = values(clipped.store.view(Role::m, 0)), want = values(plain.store.view(Role::m, 0));
  for (size_t i = 0; i < m.size(); ++i) EXPECT_NEAR(m[i], want[i] / 4, 1e-6 * std::abs(want[i]));
  c.grad_clip = unclipped.grad_norm * 2;  // a norm below the limit is left alone
  Fixture below(GetParam());
  assign(below.store.grad(0), values(gradient.tensor));
  update(below, c, 1);
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
    const std::string what = error_of([&] { update(f, {}, 7); });
    EXPECT_EQ(what, "step 7: the gradient of second is not finite");
    EXPECT_EQ(values(f.store.flat(Role::master)), before);
    EXPECT_EQ(values(f.store.flat(Role::ema)), before);
    for (const double m : values(f.store.flat(Role::m))) ASSERT_EQ(m, 0);
    for (const int id : {0, 1}) assign(f.store.grad(id), std::vector<double>(id == 0 ? 5 : 40, 0.5));
    update(f, {.warmup_steps = 0}, 8);  // later steps have not been told yet
    EXPECT_EQ(values(f.store.flat(Role::master)), before);
    f.optimizer.go_on(f.ctx);
    update(f, {.warmup_steps = 0}, 9);
    EXPECT_NE(values(f.store.flat(Role::master)), before);
  }
}

TEST_P(OptimizerTest, LossesThatAreNotFiniteChangeNothing) {
  Fixture f(GetParam());
  const auto before = values(f.store.flat(Role::master));
  const OptimizerConfig c{.warmup_steps = 0};
  for (const int id : {0, 1}) assign(f.store.grad(id), std::vector<double>(id == 0 ? 5 : 40, 0.5));
  OwnedTensor losses = tensor_of(DType::f32, {3}, {1, 2, std::numeric_limits<double>::infinity()});
  f.optimizer.begin(f.ctx, c, 1);
  f.optimizer.require_finite(f.ctx, losses.tensor);
  f.optimizer.update(f.ctx, c);
  EXPECT_EQ(values(f.store.flat(Role::master)), before);
  f.optimizer.go_on(f.ctx);
  assign(losses.tensor, {1, 2, 3});
  f.optimizer.begin(f.ctx, c, 1);
  f.optimizer.require_finite(f.ctx, losses.tensor);
  f.optimizer.update(f.ctx, c);
  EXPECT_NE(values(f.store.flat(Role::master)), before);
}

// On a GPU all but the first two updates are a recording: it must not remember their rates.
TEST_P(OptimizerTest, EveryStepHasItsOwnRates) {
  Fixture steps(GetParam());
  const OptimizerConfig c{.lr = 1e-2, .warmup_steps = 3, .lr_schedule = LrSchedule::cosine, .max_steps = 9};
  for (int64_t k = 1; k <= 8; ++k) {
    SCOPED_TRACE(k);
    Fixture once(GetParam());  // does this step alone, with this step's rate
    for (const Role role : {Role::master, Role::m, Role::v, Role::ema})
      assign(once.store.flat(role), values(steps.store.flat(role)));
    once.store.use(once.ctx, Role::master);
    const auto gradient = random_tensor(DType::f32, {40}, static_cast<uint64_t>(k));
    for (Fixture* f : {&steps, &once}) assign(f->store.grad(1), values(gradient.tensor));
    EXPECT_EQ(update(steps, c, k).lr, learning_rate(c, k));
    update(once, c, k);
    for (const Role role : {Role::master, Role::working, Role::m, Role::v, Role::ema})
      EXPECT_EQ(values(steps.store.flat(role)), values(once.store.flat(role))) << name_of(role);
  }
}

TEST_P(OptimizerTest, WorkingWeightsAreTheRoundedMaster) {
  Fixture f(GetParam());
  assign(f.store.grad(1), std::vector<double>(40, 0.5));
  update(f, {.lr = 1e-2, .warmup_steps = 0}, 1);
  const auto master = values(f.store.flat(Role::master)), working = values(f.store.flat(Role::working));
  for (size_t i = 0; i < master.size(); ++i) {
    const float x = static_cast<float>(master[i]);
    EXPECT_EQ(working[i], GetParam().dtype == DType::f32 ? x : to_float(to_bf16(x)));
  }
}

INSTANTIATE_TEST_SUITE_P(Everywhere, OptimizerTest, ::testing::ValuesIn(everywhere_and_gpu()), where_name);

}  // namespace
}  // namespace uvic::test
