// train.shard_optimizer: processes that divide the optimizer's state train as those that do not, to the bit, and leave
// the same checkpoints.

#include "app/divided_state.h"

#include <csignal>

#include "model/checkpoint.h"
#include "tests/app/program.h"
#include "tests/app/tiny_run.h"

namespace uvic::test {
namespace {

namespace fs = std::filesystem;

// The CPU; one GPU that all processes share; a GPU for each.
std::vector<std::string> places() {
  std::vector<std::string> all{"cpu"};
  if (gpu_count() > 0) all.push_back("cuda:0");
  if (gpu_count() > 1) all.push_back("cuda");
  return all;
}

class DividedStateTest : public ImageFolderTest, public ::testing::WithParamInterface<std::string> {
 protected:
  void SetUp() override {
    ImageFolderTest::SetUp();
    config_ = tiny_run(class_folders(3, 5));
    config_.train.batch_size = 5;
    config_.train.max_steps = 12;
    config_.train.save_every = 4;
    config_.train.log_every = 1;
    config_.train.grad_clip = 0.5;
    config_.train.ema_rate = {0.9, 0.5};
  }
  std::vector<std::string> arguments(const fs::path& out, bool divided, int64_t steps) {
    RunConfig c = config_;
    c.train.shard_optimizer = divided;
    c.train.max_steps = steps;
    const fs::path file = dir_ / concat(out.filename().string(), ".yaml");
    write_text(file, dump_config(c));
    return {"-q", "-c", file.string(), "-o", out.string(), "--device", GetParam()};
  }
  void train(const fs::path& out, int processes, bool divided, int64_t steps = 12) {
    const Ended end =
        run_program("uvic-train", arguments(out, divided, steps), {.sees_gpus = true, .processes = processes});
    ASSERT_EQ(end.status, 0) << end.err;
    ASSERT_TRUE(fs::exists(out / step_folder(steps))) << end.err;
  }
  static std::string step_folder(int64_t step) {
    char name[32];
    std::snprintf(name, sizeof name, "step-%08lld", static_cast<long long>(step));
    return name;
  }
  // The models hold the config that made them, so that the files of two cannot be the same.
  static void expect_same(const fs::path& got, const fs::path& want, int64_t step = 12) {
    const fs::path a = got / step_folder(step), b = want / step_folder(step);
    EXPECT_TRUE(read_text(a / "state.safetensors") == read_text(b / "state.safetensors")) << a;
    for (const char* model : {"model.safetensors", "model-ema-0.5.safetensors"}) {
      const Weights mine = read_weights(a / model), theirs = read_weights(b / model);
      ASSERT_EQ(mine.tensors.size(), theirs.tensors.size());
      for (const auto& [name, value] : theirs.tensors) EXPECT_EQ(values(mine.find(name)), values(value)) << name;
    }
    EXPECT_EQ(metrics_of(got), metrics_of(want));
  }
  RunConfig config_;
};
INSTANTIATE_TEST_SUITE_P(Places, DividedStateTest, ::testing::ValuesIn(places()), [](const auto& test) {
  return test.param == "cpu" ? "cpu" : test.param == "cuda" ? "cuda_each" : "cuda_shared";
});

TEST_P(DividedStateTest, TrainsToTheSameBits) {
  for (const char* dtype : {"f32", "bf16"}) {
    config_.train.dtype = dtype;
    for (const int processes : {2, 3}) {
      SCOPED_TRACE(concat(dtype, " ", processes));
      const fs::path whole = dir_ / concat("whole", dtype, processes), parts = dir_ / concat("parts", dtype, processes);
      train(whole, processes, false);
      train(parts, processes, true);
      expect_same(parts, whole);
    }
  }
}

// The averages are gathered for previews, which the first process makes alone, and the weights are back afterwards.
TEST_P(DividedStateTest, PreviewsAreTheSame) {
  config_.sample.every = 3;
  for (const char* dtype : {"f32", "bf16"}) {
    SCOPED_TRACE(dtype);
    config_.train.dtype = dtype;
    const fs::path whole = dir_ / concat("whole", dtype), parts = dir_ / concat("parts", dtype);
    train(whole, 2, false);
    train(parts, 2, true);
    expect_same(parts, whole);
    for (const int64_t step : {3, 12}) {
      const std::string png = "samples/" + step_folder(step) + ".png";
      EXPECT_EQ(read_image(parts / png).rgb, read_image(whole / png).rgb) << step;
    }
  }
}

// A run goes on with another number of processes, with or without the option.
TEST_P(DividedStateTest, CheckpointsKnowNoParts) {
  for (const char* dtype : {"f32", "bf16"}) {
    SCOPED_TRACE(dtype);
    config_.train.dtype = dtype;
    const fs::path whole = dir_ / concat("whole", dtype), mixed = dir_ / concat("mixed", dtype);
    const std::pair<int, bool> stages[] = {{2, true}, {3, false}, {1, true}, {3, true}, {2, true}};
    int64_t steps = 0;
    for (const auto& [processes, divided] : stages) {
      steps += 4;
      train(whole, processes, false, steps);
      train(mixed, processes, divided, steps);
    }
    expect_same(mixed, whole, steps);
  }
}

TEST_P(DividedStateTest, KilledAndResumedEndsWithTheSameBits) {
  config_.train.dtype = "bf16";
  const fs::path killed = dir_ / "killed", whole = dir_ / "whole";
  for (const int victim : {1, 0}) {
    Program job("uvic-train", arguments(killed, true, 100000), {.sees_gpus = true, .processes = 2});
    const std::vector<fs::path> before = list_checkpoints(killed);
    ASSERT_TRUE(wait_until(job, killed, [&] { return list_checkpoints(killed).size() > before.size() + 1; }));
    const pid_t id = process_of(job.id(), victim);
    ASSERT_GT(id, 0);
    ::kill(id, SIGKILL);
    EXPECT_NE(job.wait().status, 0);
  }
  const auto newest = newest_checkpoint(
      killed, [](const fs::path& folder, const std::string& why) { ADD_FAILURE() << folder << ": " << why; });
  ASSERT_TRUE(newest);
  const int64_t end = *checkpoint_step(*newest) + 4;
  train(killed, 2, true, end);
  train(whole, 2, false, end);
  expect_same(killed, whole, end);
}

// The first process fails while the other waits to hand it its part.
TEST_P(DividedStateTest, ACheckpointThatCannotBeSavedEndsTheJob) {
  const fs::path out = dir_ / "out", moved = dir_ / "moved";
  Program job("uvic-train", arguments(out, true, 100000), {.sees_gpus = true, .processes = 2});
  ASSERT_TRUE(wait_until(job, out, [&] { return fs::exists(out / step_folder(4)); }));
  fs::rename(out, moved);
  const Ended ended = job.wait();
  EXPECT_NE(ended.status, 0);
  EXPECT_NE(ended.err.find("process 0 of 2: checkpoint "), std::string::npos) << ended.err;
  EXPECT_NE(ended.err.find(" could not be saved"), std::string::npos) << ended.err;
  verify_checkpoint(moved / step_folder(4));
}

}  // namespace
}  // namespace uvic::test
