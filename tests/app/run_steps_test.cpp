#include "app/run_steps.h"

#include "tests/app/steps_fixture.h"

namespace uvic::test {
namespace {

class RunStepsTest : public ImageFolderTest, public ::testing::WithParamInterface<Device> {
 protected:
  RunConfig config() {
    RunConfig c = tiny_run(data_);
    c.diffusion.loss_weight = "min_snr";
    return c;
  }
  std::filesystem::path data_ = class_folders(3, 5);
};
INSTANTIATE_TEST_SUITE_P(Devices, RunStepsTest, ::testing::ValuesIn(devices()), device_name);

TEST_P(RunStepsTest, ReadLateTheyAreWhatTheyAreReadAtOnce) {
  for (const int parts : {1, 3}) {
    SCOPED_TRACE(parts);
    RunConfig c = config();
    c.train.accumulate = parts;
    const OptimizerConfig rates{.lr = c.train.lr, .warmup_steps = c.train.warmup_steps};
    StepsFixture at_once(c, GetParam()), late(c, GetParam());
    std::vector<StepResult> want, got;
    for (int64_t k = 1; k <= 10; ++k) {
      at_once.steps.give(k);
      want.push_back(at_once.steps.read());
      late.steps.give(k);
      if (k > 1) got.push_back(late.steps.read());
      EXPECT_EQ(late.steps.unread(), 1);
    }
    got.push_back(late.steps.read());
    EXPECT_EQ(late.weights(), at_once.weights());
    for (size_t i = 0; i < want.size(); ++i) {
      SCOPED_TRACE(i);
      EXPECT_EQ(got[i].lr, learning_rate(rates, static_cast<int64_t>(i) + 1));
      EXPECT_EQ(got[i].loss, want[i].loss);
      EXPECT_EQ(got[i].grad_norm, want[i].grad_norm);
      EXPECT_EQ(got[i].loss_per_sample, want[i].loss_per_sample);
      EXPECT_EQ(got[i].levels.sum, want[i].levels.sum);
    }
  }
}

// A first step that throws the weights far away makes the second one's loss infinite. It is noticed when the next step
// has been given, too, and neither has changed anything.
TEST_P(RunStepsTest, ALossThatIsNotFiniteLeavesTheWeightsOfTheLastGoodStep) {
  for (const char* dtype : {"f32", "bf16"}) {
    for (const int parts : {1, 2}) {
      SCOPED_TRACE(concat(dtype, parts));
      RunConfig c = config();
      c.train.dtype = dtype;
      c.train.accumulate = parts;
      c.train.lr = 1e30;
      c.train.warmup_steps = 0;
      StepsFixture good(c, GetParam()), run(c, GetParam());
      good.steps.give(1);
      good.steps.read();
      run.steps.give(1), run.steps.give(2);
      run.steps.read();
      run.steps.give(3);
      const std::string said = error_of([&] { run.steps.read(); });
      EXPECT_TRUE(said.starts_with("step 2: the loss is not finite; the first values that are not are those of "))
          << said;
      for (const Role role : {Role::master, Role::working, Role::m, Role::v, Role::ema})
        EXPECT_EQ(values(run.model.store.flat(role)), values(good.model.store.flat(role))) << name_of(role);
    }
  }
}

}  // namespace
}  // namespace uvic::test
