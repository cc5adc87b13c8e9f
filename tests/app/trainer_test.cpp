// Whole training runs: stopped and resumed equals never stopped, to the bit; what does not fit is refused.

#include "app/trainer.h"

#include <random>

#include "app/train_step.h"
#include "model/checkpoint.h"
#include "model/io/torch_pickle.h"
#include "tests/app/tiny_run.h"
#include "tests/golden_model.h"

namespace uvic::test {
namespace {

namespace fs = std::filesystem;

class TrainerTest : public ImageFolderTest {
 protected:
  TrainOutcome run(const RunConfig& config, const fs::path& out, const std::string& resume = "auto",
                   const volatile std::sig_atomic_t* stop = nullptr) {
    return train({.config = config,
                  .out = out,
                  .resume = resume,
                  .device = {},
                  .progress = Progress::Style::quiet,
                  .stop = stop});
  }
  std::string refusal(const RunConfig& config, const fs::path& out, const std::string& resume = "auto") {
    return error_of([&] { run(config, out, resume); });
  }
  fs::path data_ = class_folders(3, 5);
};

std::string step_name(int64_t step) {
  char name[32];
  std::snprintf(name, sizeof name, "step-%08lld", static_cast<long long>(step));
  return name;
}

// What a run that was killed some time after saving this step leaves behind: later lines, the last one torn, and a
// checkpoint that was being written.
void leave_as_killed(const fs::path& run, const fs::path& at, int64_t step, size_t metrics_bytes) {
  fs::create_directories(at);
  for (const fs::path& folder : list_checkpoints(run))
    if (*checkpoint_step(folder) <= step) fs::copy(folder, at / folder.filename(), fs::copy_options::recursive);
  const std::string metrics = read_text(run / "metrics.jsonl");
  write_text(at / "metrics.jsonl", metrics.substr(0, metrics_bytes));
  write_text(at / (".tmp-" + step_name(step + 5)) / "state.safetensors.tmp", "half");
}

TEST_F(TrainerTest, KilledAnywhereAndResumedEndsWithTheSameBits) {
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

TEST_F(TrainerTest, ModelsNameNoFolderOfTheirMachine) {
  run(tiny_run(data_), dir_ / "run");
  ASSERT_TRUE(fs::path(data_).is_absolute());
  EXPECT_EQ(read_text(dir_ / "run" / step_name(30) / "model.safetensors").find(dir_.string()), std::string::npos);
  EXPECT_NE(read_text(dir_ / "run" / "config.yaml").find(dir_.string()), std::string::npos);
}

TEST_F(TrainerTest, RecomputeDoesNotChangeABit) {
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

TEST_F(TrainerTest, AccumulationGivesTheLossesOfTheWholeBatch) {
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

// The samples that follow are those that a run with one batch size would have taken next.
TEST_F(TrainerTest, AResumedRunMayTakeAnotherBatchSize) {
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

TEST_F(TrainerTest, MoreStepsContinueAFinishedRun) {
  RunConfig config = tiny_run(data_);
  config.train.max_steps = 16;  // a multiple of log_every: no line that the longer run would not have
  run(config, dir_ / "longer");
  config.train.max_steps = 30;
  run(config, dir_ / "longer");
  run(config, dir_ / "whole");
  expect_same_end(dir_ / "longer", dir_ / "whole", 30);
}

TEST_F(TrainerTest, ADamagedCheckpointIsNamedAndTheOneBeforeItUsed) {
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

TEST_F(TrainerTest, KeepsTheLastCheckpoints) {
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

TEST_F(TrainerTest, PreviewsAreTheSameAfterAResume) {
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

TEST_F(TrainerTest, ResumeAsAsked) {
  RunConfig config = tiny_run(data_);
  const fs::path out = dir_ / "out";
  run(config, out, "never");
  EXPECT_NE(refusal(config, out, "never").find("holds checkpoints of an earlier run"), std::string::npos);
  EXPECT_NE(refusal(config, out, "17").find("there is no " + (out / step_name(17)).string()), std::string::npos);
  EXPECT_NE(refusal(config, out, "newest").find("--resume newest: not auto, never, a step"), std::string::npos);
  const std::string end = read_text(out / step_name(30) / "state.safetensors");
  EXPECT_EQ(run(config, out, "10").step, 30);
  EXPECT_EQ(read_text(out / step_name(30) / "state.safetensors"), end);
  EXPECT_EQ(run(config, dir_ / "elsewhere", (out / step_name(20)).string()).step, 30);
  EXPECT_EQ(read_text(dir_ / "elsewhere" / step_name(30) / "state.safetensors"), end);
}

TEST_F(TrainerTest, WhatDoesNotFitTheCheckpointIsRefused) {
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

TEST_F(TrainerTest, ALossThatIsNotFiniteStopsWithTheModuleAndTheLastGoodCheckpoint) {
  for (const char* dtype : {"f32", "bf16"}) {
    for (const std::string module : {"in_blocks.0", "mid_block", "out_blocks.0"}) {
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

// U-ViT's own checkpoint folders can be trained on.
TEST_F(TrainerTest, AReleasedCheckpointIsContinued) {
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

TEST(DescribeRun, CountsParametersAndWork) {
  const std::string text = describe_run(tiny_run("unused"));
  EXPECT_NE(text.find("18 tokens"), std::string::npos) << text;
  EXPECT_NE(text.find("a step of 4 images"), std::string::npos) << text;
}

}  // namespace
}  // namespace uvic::test
