// Whole training runs: stopped and resumed equals never stopped, to the bit; options that change how, not what.

#include "app/trainer.h"

#include <random>

#include "app/train_step.h"
#include "tests/app/trainer_fixture.h"

namespace uvic::test {
namespace {

namespace fs = std::filesystem;

class TrainerOnDevice : public TrainerTest, public ::testing::WithParamInterface<Device> {
 protected:
  TrainerOnDevice() { device_ = GetParam(); }
};
INSTANTIATE_TEST_SUITE_P(Devices, TrainerOnDevice, ::testing::ValuesIn(devices()), device_name);

TEST_P(TrainerOnDevice, KilledAnywhereAndResumedEndsWithTheSameBits) {
  for (const char* dtype : {"f32", "bf16"}) {
    SCOPED_TRACE(dtype);
    RunConfig config = tiny_run(data_);
    config.train.dtype = dtype;
    const fs::path whole = dir_ / dtype;
    const TrainOutcome end = run(config, whole);
    EXPECT_EQ(end.step, 30);
    EXPECT_EQ(end.checkpoint, whole / step_name(30));
    EXPECT_FALSE(end.interrupted);
    EXPECT_EQ(metrics_of(whole).size(), 8u);  // 4, 8, ..., 28 and the last
    const std::string metrics = read_text(whole / "metrics.jsonl");
    std::mt19937 random(7);
    for (const int64_t step : {5, 10, 25}) {
      SCOPED_TRACE(step);
      // All the lines up to the step, and any number of bytes of those after it.
      size_t lines = 0;
      for (int64_t s = 4; s <= step; s += 4) lines = metrics.find('\n', lines) + 1;
      const fs::path killed = dir_ / (std::string(dtype) + "-" + std::to_string(step));
      leave_as_killed(whole, killed, step, lines + random() % (metrics.size() - lines));
      EXPECT_EQ(run(config, killed).step, 30);
      expect_same_end(killed, whole, 30);
      EXPECT_FALSE(fs::exists(killed / (".tmp-" + step_name(step + 5)))) << "leftovers stay";
    }
  }
}

// Sums are taken in another order, and exp() and the like are others.
TEST_F(TrainerTest, AGpuTrainsAsTheCpuDoes) {
  if (devices().size() == 1) GTEST_SKIP() << "no GPU";
  const RunConfig config = tiny_run(data_);
  run(config, dir_ / "cpu");
  device_ = devices()[1];
  run(config, dir_ / "gpu");
  const auto gpu = metrics_of(dir_ / "gpu"), cpu = metrics_of(dir_ / "cpu");
  ASSERT_EQ(gpu.size(), cpu.size());
  for (size_t i = 0; i < cpu.size(); ++i) {
    EXPECT_NEAR(gpu[i]["loss"], cpu[i]["loss"], 1e-4 * cpu[i]["loss"].get<double>()) << gpu[i];
    EXPECT_NEAR(gpu[i]["grad_norm"], cpu[i]["grad_norm"], 1e-3 * cpu[i]["grad_norm"].get<double>()) << gpu[i];
  }
}

TEST_F(TrainerTest, ThreadsDoNotChangeABit) {
  for (const char* dtype : {"f32", "bf16"}) {
    RunConfig config = tiny_run(data_);
    config.train.dtype = dtype;
    run(config, dir_ / dtype / "one");
    config.train.threads = 2;
    config.data.workers = 3;
    run(config, dir_ / dtype / "more");
    const std::string state = step_name(30) + "/state.safetensors";
    EXPECT_TRUE(read_text(dir_ / dtype / "one" / state) == read_text(dir_ / dtype / "more" / state)) << dtype;
  }
}

TEST_P(TrainerOnDevice, RecomputeDoesNotChangeABit) {
  for (const char* dtype : {"f32", "bf16"}) {
    RunConfig config = tiny_run(data_);
    config.train.dtype = dtype;
    run(config, dir_ / dtype / "kept");
    config.train.recompute = true;
    run(config, dir_ / dtype / "again");
    const std::string state = step_name(30) + "/state.safetensors";
    EXPECT_TRUE(read_text(dir_ / dtype / "kept" / state) == read_text(dir_ / dtype / "again" / state)) << dtype;
  }
}

TEST_P(TrainerOnDevice, AccumulationGivesTheLossesOfTheWholeBatch) {
  RunConfig config = tiny_run(data_);
  config.train.batch_size = 7;
  config.diffusion.loss_weight = "min_snr";
  run(config, dir_ / "whole");
  for (const int parts : {2, 3, 7}) {  // 3 + 4, 2 + 2 + 3, and one by one
    SCOPED_TRACE(parts);
    config.train.accumulate = parts;
    const fs::path out = dir_ / std::to_string(parts);
    run(config, out);
    expect_same_losses(out, dir_ / "whole");
    leave_as_killed(out, dir_ / "killed" / std::to_string(parts), 10, 0);
    run(config, dir_ / "killed" / std::to_string(parts), "10");
    const std::string state = step_name(30) + "/state.safetensors";
    EXPECT_TRUE(read_text(out / state) == read_text(dir_ / "killed" / std::to_string(parts) / state));
  }
}

// Each average is what a run with it alone has; a killed run keeps all of them.
TEST_F(TrainerTest, SeveralAveragesAtOnce) {
  RunConfig config = tiny_run(data_);
  config.train.ema_rate = {0.5};
  run(config, dir_ / "slow");
  config.train.ema_rate = {0.9, 0.5};
  run(config, dir_ / "both");
  leave_as_killed(dir_ / "both", dir_ / "killed", 10, 0);
  run(config, dir_ / "killed", "10");
  const fs::path end = dir_ / "both" / step_name(30);
  for (const char* file : {"state.safetensors", "model.safetensors", "model-ema-0.5.safetensors"})
    EXPECT_TRUE(read_text(end / file) == read_text(dir_ / "killed" / step_name(30) / file)) << file;
  const Weights fast = read_weights(end / "model.safetensors"), slow = read_weights(end / "model-ema-0.5.safetensors");
  const Weights alone = read_weights(dir_ / "slow" / step_name(30) / "model.safetensors");
  for (const auto& [name, value] : alone.tensors) EXPECT_EQ(values(slow.find(name)), values(value)) << name;
  EXPECT_NE(values(fast.find("pos_embed")), values(slow.find("pos_embed")));
}

TEST_F(TrainerTest, StoppedBySignalSavesAndResumes) {
  const RunConfig config = tiny_run(data_);
  run(config, dir_ / "whole");
  volatile std::sig_atomic_t stop = 1;
  const TrainOutcome stopped = run(config, dir_ / "stopped", "auto", &stop);
  EXPECT_TRUE(stopped.interrupted);
  EXPECT_EQ(stopped.step, 0);
  EXPECT_EQ(stopped.checkpoint, dir_ / "stopped" / step_name(0));
  EXPECT_EQ(run(config, dir_ / "stopped").step, 30);
  expect_same_end(dir_ / "stopped", dir_ / "whole", 30);
  EXPECT_EQ(run(config, dir_ / "stopped").step, 30);  // nothing left to do
  expect_same_end(dir_ / "stopped", dir_ / "whole", 30);
}

TEST_P(TrainerOnDevice, PreviewsAreTheSameAfterAResume) {
  RunConfig config = tiny_run(data_);
  config.train.max_steps = 10;
  config.sample.every = 5;
  run(config, dir_ / "whole");
  leave_as_killed(dir_ / "whole", dir_ / "killed", 5, 0);
  run(config, dir_ / "killed");
  const std::string png = "samples/" + step_name(10) + ".png";
  EXPECT_EQ(read_text(dir_ / "killed" / png), read_text(dir_ / "whole" / png));
  EXPECT_EQ(read_image(dir_ / "whole" / png).width, 3 * 8 + 4 * 2);  // a column a class
  EXPECT_TRUE(fs::exists(dir_ / "whole/samples" / (step_name(5) + ".png")));
}

TEST_P(TrainerOnDevice, ALossThatIsNotFiniteStopsWithTheModuleAndTheLastGoodCheckpoint) {
  for (const char* dtype : {"f32", "bf16"}) {
    for (const std::string module : {"in_blocks.0", "mid_block", "out_blocks.0"}) {
      if (GetParam().kind == DeviceKind::cuda && module == "in_blocks.0") continue;  // an emulated one takes its time
      SCOPED_TRACE(dtype + module);
      RunConfig config = tiny_run(data_);
      config.train.dtype = dtype;
      config.train.max_steps = 10;
      config.train.recompute = module == "mid_block";
      const fs::path out = dir_ / (dtype + module);
      run(config, out);
      // Weights so large that the products overflow.
      Context ctx({.threads = 1});
      TrainedModel model(ctx, config.model, DType::f32, 1);
      TrainState state = load_checkpoint(ctx, out / step_name(10), model.store);
      const int id = model.store.find(module + ".mlp.fc1.weight");
      ASSERT_GE(id, 0);
      assign(model.store.view(Role::master, id), std::vector<double>(16 * 16, 3e38));
      save_checkpoint(ctx, out, model.store, {.config = config.model}, state);
      config.train.max_steps = 20;
      config.train.warmup_steps = 0;
      std::string said, hint;
      try {
        run(config, out);
      } catch (const Error& e) {
        said = e.what(), hint = e.hint();
      }
      EXPECT_NE(said.find("step 11: the loss is not finite; the first values that are not are those of " + module),
                std::string::npos)
          << said;
      EXPECT_EQ(hint, "the last good checkpoint is " + (out / step_name(10)).string());
      EXPECT_EQ(list_checkpoints(out)[0], out / step_name(10));
    }
  }
}

}  // namespace
}  // namespace uvic::test
