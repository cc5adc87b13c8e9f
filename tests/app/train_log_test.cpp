#include "app/train_log.h"

#include <thread>

#include "tests/app/tiny_run.h"

namespace uvic::test {
namespace {

class TrainLogTest : public FolderTest {};

TEST_F(TrainLogTest, WhatPassesBetweenStepsIsNoStepsTime) {
  RunConfig config = tiny_run("unused");
  config.train.log_every = 2;
  const Context ctx({.threads = 1});
  TrainState state;
  TrainLog log(dir_, config, ctx, state);
  for (state.step = 1; state.step <= 2; ++state.step) {
    std::this_thread::sleep_for(std::chrono::seconds(1));  // a preview, a save
    log.begin_step();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    StepResult result;
    result.levels.add(0, 1);
    log.step(result, {}, state);
  }
  const auto line = nlohmann::json::parse(read_text(dir_ / "metrics.jsonl"));
  EXPECT_EQ(line["step"], 2);
  EXPECT_LE(line["images_per_s"], 4 / 0.05);
  EXPECT_GE(line["images_per_s"], 4 / 0.5);
}

}  // namespace
}  // namespace uvic::test
