// uvic-train as a process: killed and interrupted at any moment, it loses nothing.

#include <chrono>
#include <csignal>
#include <random>

#include "model/checkpoint.h"
#include "tests/app/program.h"
#include "tests/app/tiny_run.h"

namespace uvic::test {
namespace {

namespace fs = std::filesystem;

class TrainProgram : public ImageFolderTest {
 protected:
  // 200 steps, a line every step and a checkpoint every tenth.
  fs::path write_config(const std::string& dtype) {
    RunConfig c = tiny_run(class_folders(3, 5));
    c.train.max_steps = 200;
    c.train.log_every = 1;
    c.train.save_every = 10;
    c.train.keep_last = 2;
    c.train.dtype = dtype;
    write_text(dir_ / "config.yaml", dump_config(c));
    return dir_ / "config.yaml";
  }
  std::vector<std::string> arguments(const fs::path& config, const fs::path& out) {
    return {"-c", config.string(), "-o", out.string()};
  }
};

int64_t last_step(const fs::path& run) {
  int64_t step = 0;
  std::ifstream in(run / "metrics.jsonl");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("{\"step\":") && line.ends_with('}')) step = std::stoll(line.substr(8));
  return step;
}

bool saving(const fs::path& run) {
  for (const auto& entry : fs::directory_iterator(run))
    if (entry.path().filename().string().starts_with(".tmp-step-")) return true;
  return false;
}

int64_t newest_step(const fs::path& run) {
  const std::vector<fs::path> checkpoints = list_checkpoints(run);
  return checkpoints.empty() ? 0 : *checkpoint_step(checkpoints[0]);
}

// A third of the kills fall at any time after the start, a third while a checkpoint is being written, a third when one
// has become whole, so that the run gets on however slow the machine is.
TEST_F(TrainProgram, AHundredKillsAtRandomMomentsAndItEndsWithTheSameBits) {
  const auto seed = static_cast<unsigned>(std::chrono::steady_clock::now().time_since_epoch().count());
  SCOPED_TRACE(concat("moments by seed ", seed));
  std::mt19937 random(seed);
  const auto microseconds = [&](int most) { return std::chrono::microseconds(random() % static_cast<unsigned>(most)); };
  for (const char* dtype : {"f32", "bf16"}) {
    SCOPED_TRACE(dtype);
    const fs::path config = write_config(dtype), whole = dir_ / dtype, killed = dir_ / (std::string(dtype) + "-killed");
    const auto until = [&](const fs::path& out, int64_t step) {
      std::vector<std::string> all = arguments(config, out);
      all.insert(all.end(), {"--max-steps", std::to_string(step), "--set", "train.save_every=3"});
      return all;
    };
    int kills = 0, inside_a_save = 0;
    int64_t newest = 0;
    while (kills < 50) {
      Program program("uvic-train", until(killed, 1000000));
      if (kills % 3 == 0)
        std::this_thread::sleep_for(microseconds(150000));
      else if (kills % 3 == 1 &&
               wait_until(program, killed, [&] { return last_step(killed) > newest && saving(killed); }))
        std::this_thread::sleep_for(microseconds(4000));
      else if (wait_until(program, killed, [&] { return newest_step(killed) > newest; }))
        std::this_thread::sleep_for(microseconds(20000));
      program.signal(SIGKILL);
      const Ended ended = program.wait();
      ASSERT_EQ(ended.status, 128 + SIGKILL) << ended.err;
      ++kills;
      inside_a_save += fs::exists(killed) && saving(killed);
      for (const fs::path& folder : list_checkpoints(killed)) ASSERT_NO_THROW(verify_checkpoint(folder)) << folder;
      ASSERT_GE(newest_step(killed), newest);
      newest = newest_step(killed);
    }
    EXPECT_GT(newest, 0);
    EXPECT_GT(inside_a_save, 5);
    const Ended last = run_program("uvic-train", until(killed, newest + 10));
    EXPECT_EQ(last.status, 0) << last.err;
    EXPECT_EQ(last.err.find("refused"), std::string::npos) << last.err;
    ASSERT_EQ(run_program("uvic-train", until(whole, newest + 10)).status, 0);
    expect_same_end(killed, whole, newest + 10);
    EXPECT_EQ(list_checkpoints(killed).size(), 2u);
    EXPECT_FALSE(saving(killed)) << "leftovers stay";
  }
}

TEST_F(TrainProgram, AnInterruptSavesSaysWhereAndIsNoFailureOfTheRun) {
  const fs::path config = write_config("f32"), out = dir_ / "out", whole = dir_ / "whole";
  for (const int signal : {SIGINT, SIGTERM}) {
    Program program("uvic-train", arguments(config, out));
    const int64_t from = last_step(out);
    ASSERT_TRUE(wait_until(program, out, [&] { return last_step(out) >= from + 3; }));
    program.signal(signal);
    const Ended ended = program.wait();
    ASSERT_EQ(ended.status, 130) << ended.err;
    const auto newest = newest_checkpoint(
        out, [](const fs::path& folder, const std::string& why) { ADD_FAILURE() << folder << ": " << why; });
    ASSERT_TRUE(newest);
    const int64_t step = *checkpoint_step(*newest);
    EXPECT_GE(step, last_step(out));
    EXPECT_NE(ended.err.find(concat("interrupted at step ", step, "; checkpoint ", newest->string())),
              std::string::npos)
        << ended.err;
  }
  const Ended end = run_program("uvic-train", arguments(config, out));
  EXPECT_NE(end.err.find("resumed at step"), std::string::npos) << end.err;
  run_program("uvic-train", arguments(config, whole));
  expect_same_end(out, whole, 200);
}

TEST_F(TrainProgram, AFullDiskLeavesTheLastCheckpointAndIsOvercomeByRunningAgain) {
  const fs::path config = write_config("f32"), out = dir_ / "out", whole = dir_ / "whole";
  std::vector<std::string> first = arguments(config, out);
  first.insert(first.end(), {"--max-steps", "20"});
  ASSERT_EQ(run_program("uvic-train", first).status, 0);
  const auto limit = fs::file_size(out / "step-00000020/state.safetensors") - 1;
  const Ended full = run_program("uvic-train", arguments(config, out), {.file_size_limit = limit});
  EXPECT_TRUE(failed_clearly(full, "uvic-train", 1,
                             {(out / "step-00000030").string() + " could not be saved", "File too large",
                              "hint: earlier checkpoints are untouched"}));
  EXPECT_NO_THROW(verify_checkpoint(out / "step-00000020"));
  EXPECT_FALSE(saving(out));
  EXPECT_EQ(run_program("uvic-train", arguments(config, out)).status, 0);
  run_program("uvic-train", arguments(config, whole));
  expect_same_end(out, whole, 200);
}

TEST_F(TrainProgram, DryRunPrintsTheResolvedConfigAndWritesNothing) {
  const fs::path config = write_config("f32");
  const Ended dry = run_program("uvic-train", {"-c", config.string(), "-o", (dir_ / "out").string(), "--dry-run",
                                               "--set", "train.lr=0.25", "--max-steps", "7", "--dtype", "bf16"});
  EXPECT_EQ(dry.status, 0) << dry.err;
  const RunConfig resolved = parse_config(dry.out, "stdout");
  EXPECT_EQ(resolved.train.lr, 0.25);
  EXPECT_EQ(resolved.train.max_steps, 7);
  EXPECT_EQ(resolved.train.dtype, "bf16");
  EXPECT_NE(dry.err.find("M parameters"), std::string::npos);
  EXPECT_FALSE(fs::exists(dir_ / "out"));
}

TEST_F(TrainProgram, JsonIsOneObjectOnStdout) {
  const fs::path config = write_config("f32"), out = dir_ / "out";
  const Ended end =
      run_program("uvic-train", {"-c", config.string(), "-o", out.string(), "--max-steps", "3", "--json", "-q"});
  const auto j = nlohmann::json::parse(end.out, nullptr, false);
  ASSERT_TRUE(j.is_object()) << end.out;
  EXPECT_EQ(j["step"], 3);
  EXPECT_EQ(j["checkpoint"], (out / "step-00000003").string());
  EXPECT_EQ(j["interrupted"], false);
  EXPECT_EQ(metrics_of(out).back()["loss"], j["loss"]);
}

}  // namespace
}  // namespace uvic::test
