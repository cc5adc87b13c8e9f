// uvic-train in several processes, as mpirun starts them: the losses of one process; kills, signals and errors of one
// of them end the job and spoil nothing.

#include "app/processes.h"

#include <csignal>

#include "model/checkpoint.h"
#include "tests/app/program.h"
#include "tests/app/tiny_run.h"

namespace uvic::test {
namespace {

namespace fs = std::filesystem;

class ProcessesTest : public ImageFolderTest {
 protected:
  void SetUp() override {
    ImageFolderTest::SetUp();
    config_ = tiny_run(class_folders(3, 5));
    config_.train.max_steps = 40;
    config_.train.log_every = 1;
    config_.train.save_every = 10;
  }
  std::vector<std::string> arguments(const fs::path& out, const std::vector<std::string>& more = {}) {
    write_text(dir_ / "config.yaml", dump_config(config_));
    std::vector<std::string> all{"-q", "-c", (dir_ / "config.yaml").string(), "-o", out.string()};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  void train(const fs::path& out, int processes, const std::vector<std::string>& more = {}) {
    const Ended end = run_program("uvic-train", arguments(out, more), {.processes = processes});
    ASSERT_EQ(end.status, 0) << end.err;
  }
  RunConfig config_;
};

std::string end_state(const fs::path& run, int64_t step) {
  char name[32];
  std::snprintf(name, sizeof name, "step-%08lld", static_cast<long long>(step));
  return read_text(run / name / "state.safetensors");
}

TEST_F(ProcessesTest, GiveTheLossesOfOneAndTheSameBitsAgain) {
  config_.train.batch_size = 5;  // 2 + 3 images, 1 + 2 + 2
  config_.train.grad_clip = 0.5;
  train(dir_ / "one", 1);
  for (const int processes : {2, 3}) {
    SCOPED_TRACE(processes);
    const fs::path first = dir_ / concat("first", processes), again = dir_ / concat("again", processes);
    train(first, processes);
    expect_same_losses(first, dir_ / "one");
    EXPECT_EQ(nlohmann::json::parse(read_text(first / "step-00000040/state.json"))["world_size"], processes);
    train(again, processes, {"--max-steps", "20"});
    train(again, processes);  // resumed
    EXPECT_TRUE(end_state(again, 40) == end_state(first, 40));
    EXPECT_EQ(metrics_of(again), metrics_of(first));
  }
  config_.train.accumulate = 2;
  train(dir_ / "parts", 2);
  expect_same_losses(dir_ / "parts", dir_ / "one");
}

// Gradients that fill several buckets are sent while backward runs, and recomputed blocks are no different.
TEST_F(ProcessesTest, ManyBucketsGiveTheLossesOfOne) {
  config_.model.embed_dim = 256;
  config_.model.mlp_ratio = 4;
  config_.model.depth = 4;
  config_.train.max_steps = 6;
  config_.train.save_every = 6;
  train(dir_ / "one", 1);
  train(dir_ / "two", 2);
  expect_same_losses(dir_ / "two", dir_ / "one");
  config_.train.recompute = true;
  train(dir_ / "again", 2);
  EXPECT_TRUE(end_state(dir_ / "again", 6) == end_state(dir_ / "two", 6));
}

TEST_F(ProcessesTest, ResumeAtAnotherNumber) {
  train(dir_ / "one", 1);
  train(dir_ / "out", 2, {"--max-steps", "10"});
  train(dir_ / "out", 1, {"--max-steps", "20"});
  EXPECT_EQ(nlohmann::json::parse(read_text(dir_ / "out/step-00000020/state.json"))["world_size"], 1);
  train(dir_ / "out", 3, {"--max-steps", "30"});
  train(dir_ / "out", 2);
  expect_same_losses(dir_ / "out", dir_ / "one");
}

TEST_F(ProcessesTest, OneThatIsKilledEndsTheJobByNameAndTheCheckpointIsWhole) {
  config_.train.max_steps = 100000;
  const fs::path out = dir_ / "out";
  for (const int victim : {1, 0}) {
    Program job("uvic-train", arguments(out), {.processes = 2});
    const auto newest = newest_checkpoint(out, [](const fs::path&, const std::string&) {});
    const int64_t from = newest ? *checkpoint_step(*newest) : 0;
    ASSERT_TRUE(wait_until(job, out, [&] {
      const auto all = list_checkpoints(out);
      return !all.empty() && *checkpoint_step(all[0]) > from;
    }));
    const pid_t id = process_of(job.id(), victim);
    ASSERT_GT(id, 0);
    ::kill(id, SIGKILL);
    const Ended ended = job.wait();
    EXPECT_NE(ended.status, 0);
    EXPECT_NE((ended.out + ended.err).find(concat("rank ", victim)), std::string::npos) << ended.out << ended.err;
    EXPECT_TRUE(newest_checkpoint(
        out, [](const fs::path& folder, const std::string& why) { ADD_FAILURE() << folder << ": " << why; }));
  }
  const auto newest = newest_checkpoint(out, [](const fs::path&, const std::string&) {});
  ASSERT_TRUE(newest);
  const int64_t step = *checkpoint_step(*newest) + 5;
  train(out, 2, {"--max-steps", std::to_string(step)});
  train(dir_ / "whole", 2, {"--max-steps", std::to_string(step)});
  expect_same_end(out, dir_ / "whole", step);
}

TEST_F(ProcessesTest, ASignalToTheJobSaves) {
  config_.train.max_steps = 100000;
  config_.train.save_every = 100000;
  const fs::path out = dir_ / "out";
  Program job("uvic-train", arguments(out), {.processes = 2});
  ASSERT_TRUE(wait_until(job, out, [&] { return metrics_of(out).size() > 3; }));
  job.signal(SIGTERM);
  const Ended ended = job.wait();
  EXPECT_NE(ended.status, 0);
  const auto newest = newest_checkpoint(out, [](const fs::path&, const std::string&) {});
  ASSERT_TRUE(newest) << ended.err;
  EXPECT_GE(*checkpoint_step(*newest), 3);
}

TEST_F(ProcessesTest, AnErrorOfOneNamesIt) {
  config_.train.batch_size = 2;
  config_.train.accumulate = 2;
  const Ended few = run_program("uvic-train", arguments(dir_ / "out"), {.processes = 2});
  EXPECT_EQ(few.status, 1);
  EXPECT_NE(few.err.find("of 2: train.batch_size 2 is too small for 2 processes that take their images in 2 parts"),
            std::string::npos)
      << few.err;
  EXPECT_NE(few.err.find("uvic-train: error: process "), std::string::npos) << few.err;
}

TEST(Processes, OneAloneNeedsNoLauncher) {
  Processes alone({.rank = 0, .size = 1});
  const OwnedTensor x = random_tensor(DType::f32, {5}, 1);
  const auto before = values(x.tensor);
  double number[] = {2.5};
  alone.begin_sum(x.tensor);
  alone.finish_sums();
  alone.sum(number);
  alone.copy_from_first(x.tensor);
  EXPECT_TRUE(alone.first() && alone.alone());
  EXPECT_EQ(alone.threads(), 0);
  EXPECT_EQ(number[0], 2.5);
  EXPECT_EQ(values(x.tensor), before);
}

}  // namespace
}  // namespace uvic::test
