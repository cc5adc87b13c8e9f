// What a run goes on from and what it leaves: damaged checkpoints, what does not fit, which ones are kept.

#include "app/run_folder.h"

#include "model/io/torch_pickle.h"
#include "tests/app/trainer_fixture.h"
#include "tests/golden_model.h"

namespace uvic::test {
namespace {

namespace fs = std::filesystem;

class RunFolderTest : public TrainerTest {};

TEST_F(RunFolderTest, ADamagedCheckpointIsNamedAndTheOneBeforeItUsed) {
  const RunConfig config = tiny_run(data_);
  run(config, dir_ / "whole");
  for (const char* file : {"state.json", "state.safetensors", "model.safetensors"}) {
    SCOPED_TRACE(file);
    const fs::path out = dir_ / file;
    fs::copy(dir_ / "whole", out, fs::copy_options::recursive);
    for (const int64_t step : {25, 30}) {
      std::string bytes = read_text(out / step_name(step) / file);
      bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 4);
      write_text(out / step_name(step) / file, bytes);
    }
    ::testing::internal::CaptureStderr();
    EXPECT_EQ(run(config, out).step, 30);
    const std::string said = ::testing::internal::GetCapturedStderr();
    for (const int64_t step : {25, 30})
      EXPECT_NE(said.find(concat("refused ", (out / step_name(step)).string())), std::string::npos) << said;
    expect_same_end(out, dir_ / "whole", 30);
  }
  for (const fs::path& folder : list_checkpoints(dir_ / "whole")) fs::remove(folder / "state.json");
  const std::string metrics = read_text(dir_ / "whole/metrics.jsonl");
  ::testing::internal::CaptureStderr();
  EXPECT_NE(refusal(config, dir_ / "whole").find("holds checkpoints, but no whole one"), std::string::npos);
  ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(read_text(dir_ / "whole/metrics.jsonl"), metrics);
}

TEST_F(RunFolderTest, KeepsTheLastCheckpoints) {
  RunConfig config = tiny_run(data_);
  config.train.keep_last = 2;
  run(config, dir_ / "out");
  EXPECT_EQ(list_checkpoints(dir_ / "out"),
            (std::vector<fs::path>{dir_ / "out" / step_name(30), dir_ / "out" / step_name(25)}));
  config.train.keep_every = 10;
  run(config, dir_ / "more");
  EXPECT_EQ(list_checkpoints(dir_ / "more"),
            (std::vector<fs::path>{dir_ / "more" / step_name(30), dir_ / "more" / step_name(25),
                                   dir_ / "more" / step_name(20), dir_ / "more" / step_name(10)}));
}

TEST_F(RunFolderTest, ResumeAsAsked) {
  RunConfig config = tiny_run(data_);
  const fs::path out = dir_ / "out";
  run(config, out, "never");
  EXPECT_NE(refusal(config, out, "never").find("holds checkpoints of an earlier run"), std::string::npos);
  EXPECT_NE(refusal(config, out, "17").find("there is no " + (out / step_name(17)).string()), std::string::npos);
  EXPECT_NE(refusal(config, out, "newest").find("--resume newest: not auto, never, a step"), std::string::npos);
  const std::string end = read_text(out / step_name(30) / "state.safetensors");
  ::testing::internal::CaptureStderr();
  EXPECT_EQ(run(config, out, "10").step, 30);
  EXPECT_NE(::testing::internal::GetCapturedStderr().find((out / step_name(30)).string() + " stays"),
            std::string::npos);
  EXPECT_EQ(read_text(out / step_name(30) / "state.safetensors"), end);
  EXPECT_EQ(run(config, dir_ / "elsewhere", (out / step_name(20)).string()).step, 30);
  EXPECT_EQ(read_text(dir_ / "elsewhere" / step_name(30) / "state.safetensors"), end);
}

TEST_F(RunFolderTest, WhatDoesNotFitTheCheckpointIsRefused) {
  const RunConfig config = tiny_run(data_);
  const fs::path out = dir_ / "out";
  run(config, out);
  RunConfig other = config;
  other.train.seed = 5;
  EXPECT_NE(refusal(other, out).find("was trained with seed 1234, the config says 5"), std::string::npos);
  other = config;
  other.model.embed_dim = 32;
  EXPECT_NE(refusal(other, out).find("master/pos_embed is [1, 18, 16], this model needs [1, 18, 32]"),
            std::string::npos);
  other = config;
  other.model.num_classes = 3;
  EXPECT_NE(refusal(other, out).find("has 3 classes, but model.num_classes is 3 with a null class: it must be 4"),
            std::string::npos);
}

// The samples that follow are those that a run with one batch size would have taken next.
TEST_F(RunFolderTest, AResumedRunMayTakeAnotherBatchSize) {
  RunConfig config = tiny_run(data_);
  config.train.max_steps = 10;
  run(config, dir_ / "out");
  config.train.batch_size = 6;
  config.train.max_steps = 30;
  fs::copy(dir_ / "out", dir_ / "again", fs::copy_options::recursive);
  run(config, dir_ / "out");
  const auto state = nlohmann::json::parse(read_text(dir_ / "out" / step_name(30) / "state.json"));
  EXPECT_EQ(state["samples"], 10 * 4 + 20 * 6);
  config.train.max_steps = 25;
  run(config, dir_ / "again");
  config.train.max_steps = 30;
  run(config, dir_ / "again");  // resumed where samples are not steps times anything
  const std::string end = step_name(30) + "/state.safetensors";
  EXPECT_TRUE(read_text(dir_ / "out" / end) == read_text(dir_ / "again" / end));
}

// U-ViT's own checkpoint folders can be trained on.
TEST_F(RunFolderTest, AReleasedCheckpointIsContinued) {
  const fs::path folder = reference_dir("uvic") / "checkpoints";
  const SafetensorsFile golden(folder / "resume.safetensors");
  const int64_t step = std::stoll(golden.metadata().at("step"));
  RunConfig config = tiny_run(data_);
  config.model = golden_config(golden);
  config.model.null_class = true;
  for (int c = 3; c < config.model.real_classes(); ++c)
    write_text(data_ / ("class" + std::to_string(c)) / "img.png", png_text(c));
  config.train.max_steps = step + 2;
  const TrainOutcome end = run(config, dir_ / "out", (folder / (std::to_string(step) + ".ckpt")).string());
  EXPECT_EQ(end.step, step + 2);
  EXPECT_EQ(metrics_of(dir_ / "out").size(), 1u);
  config.train.max_steps = step + 4;
  EXPECT_EQ(run(config, dir_ / "out").step, step + 4);  // and from then on it is one of ours
}

TEST_F(RunFolderTest, MoreStepsContinueAFinishedRun) {
  RunConfig config = tiny_run(data_);
  config.train.max_steps = 16;  // a multiple of log_every: no line that the longer run would not have
  run(config, dir_ / "longer");
  config.train.max_steps = 30;
  run(config, dir_ / "longer");
  run(config, dir_ / "whole");
  expect_same_end(dir_ / "longer", dir_ / "whole", 30);
}

TEST_F(RunFolderTest, AFolderThatCannotBeMadeIsNamedWithAHint) {
  write_text(dir_ / "file", "");
  try {
    run(tiny_run(data_), dir_ / "file");
    FAIL() << "trained";
  } catch (const Error& e) {
    EXPECT_EQ(std::string(e.what()), (dir_ / "file").string() + ": cannot make this folder: Not a directory");
    EXPECT_NE(e.hint().find("another folder"), std::string::npos);
  }
}

TEST_F(RunFolderTest, ModelsNameNoFolderOfTheirMachine) {
  run(tiny_run(data_), dir_ / "run");
  ASSERT_TRUE(fs::path(data_).is_absolute());
  EXPECT_EQ(read_text(dir_ / "run" / step_name(30) / "model.safetensors").find(dir_.string()), std::string::npos);
  EXPECT_NE(read_text(dir_ / "run" / "config.yaml").find(dir_.string()), std::string::npos);
}

}  // namespace
}  // namespace uvic::test
