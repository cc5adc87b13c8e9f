// uvic-info of a run folder: its state, its checkpoints, its plot, whatever is missing or damaged.

#include "app/run_state.h"

#include <cmath>
#include <numeric>

#include "app/trainer.h"
#include "model/checkpoint.h"
#include "tests/app/program.h"
#include "tests/app/tiny_run.h"

namespace uvic::test {
namespace {

namespace fs = std::filesystem;

class RunStateTest : public ImageFolderTest {
 protected:
  fs::path trained(int64_t steps) {
    RunConfig config = tiny_run(class_folders(3, 5));
    config.train.max_steps = steps;
    train({.config = config, .out = run_, .resume = "auto", .device = {}, .progress = Progress::Style::quiet});
    return run_;
  }
  std::string field(const LogFields& fields, const std::string& name) {
    for (const auto& f : fields)
      if (f.first == name) return to_text({f}).substr(name.size() + 1);
    return "";
  }
  const fs::path run_ = dir_ / "run";
};

TEST_F(RunStateTest, ReadsWhatTheTrainerWrote) {
  const RunState s = read_run(trained(30));
  EXPECT_EQ(s.step, 30);
  EXPECT_EQ(s.max_steps, 30);
  EXPECT_EQ(s.batch_size, 4);
  EXPECT_EQ(s.steps, (std::vector<double>{4, 8, 12, 16, 20, 24, 28, 30}));
  EXPECT_EQ(s.bad_lines, 0);
  EXPECT_EQ(s.seconds_left(), 0);
  EXPECT_LT(s.age, 600);
  EXPECT_EQ(s.last.path, run_ / "step-00000030");
  EXPECT_TRUE(s.last.whole);
  EXPECT_TRUE(s.best.whole);
  const std::vector<double>& loss = s.values.at("loss");
  ASSERT_EQ(loss.size(), 8u);
  EXPECT_EQ(loss[7], metrics_of(run_).back()["loss"]);
  EXPECT_NEAR(s.recent("loss"), std::accumulate(loss.begin(), loss.end(), 0.0) / 8, 1e-12);
  EXPECT_TRUE(std::isnan(s.recent("no such field")));
  const LogFields fields = describe(s);
  EXPECT_EQ(field(fields, "images_seen"), "120");
  EXPECT_EQ(field(fields, "checkpoint"), "step-00000030");
  EXPECT_EQ(field(fields, "checkpoint_whole"), "yes");
  EXPECT_EQ(field(fields, "config_error"), "");
}

TEST_F(RunStateTest, ImagesSeenAreSummedOverBatchSizes) {
  trained(10);  // batches of 4
  RunConfig config = tiny_run(dir_ / "set");
  config.train.max_steps = 15;
  config.train.batch_size = 6;
  train({.config = config, .out = run_, .resume = "auto", .device = {}, .progress = Progress::Style::quiet});
  EXPECT_EQ(field(describe(read_run(run_)), "images_seen"), "70");
  fs::remove_all(run_ / "step-00000015");  // as killed on its way: the lines know of steps that no checkpoint has
  EXPECT_EQ(field(describe(read_run(run_)), "images_seen"), "70");
}

// Of three checkpoints the one where the loss was lowest, if it is whole.
TEST_F(RunStateTest, TheBestCheckpointIsWholeAndHasTheLowestLoss) {
  trained(20);
  write_text(run_ / "metrics.jsonl",
             "{\"step\":5,\"loss\":3}\n{\"step\":10,\"loss\":1}\n{\"step\":15,\"loss\":2}\n{\"step\":20,\"loss\":4}\n");
  RunState s = read_run(run_);
  EXPECT_EQ(s.best.path, run_ / "step-00000010");
  EXPECT_EQ(s.best.loss, 1);
  write_text(run_ / "step-00000010/state.json", "{");
  fs::remove(run_ / "step-00000020/model.safetensors");
  s = read_run(run_);
  EXPECT_EQ(s.best.path, run_ / "step-00000015");
  EXPECT_FALSE(s.last.whole);
  EXPECT_EQ(field(describe(s), "checkpoint"), "step-00000020");
  EXPECT_EQ(field(describe(s), "checkpoint_whole").find("no: "), 0u);
  EXPECT_EQ(field(describe(s), "best"), "step-00000015");
}

TEST_F(RunStateTest, TimeLeftIsStepsLeftAtTheRecentSpeed) {
  trained(20);
  RunConfig config = tiny_run("unused");
  config.train.max_steps = 1020;
  config.train.batch_size = 8;
  write_text(run_ / "config.yaml", dump_config(config));
  write_text(run_ / "metrics.jsonl",
             "{\"step\":10,\"loss\":1,\"images_per_s\":60}\n"
             "{\"step\":20,\"loss\":null,\"images_per_s\":20}\n");
  const RunState s = read_run(run_);
  EXPECT_EQ(s.seconds_left(), 200);
  EXPECT_EQ(field(describe(s), "time_left"), "3:20");
  EXPECT_EQ(s.recent("loss"), 1);
}

// An evaluation's line has none of a step's fields.
TEST_F(RunStateTest, TheNewestOfAFieldNeedNotBeInTheLastLine) {
  write_text(run_ / "metrics.jsonl",
             "{\"step\":1,\"loss\":1,\"bad_images\":3}\n{\"step\":1,\"fid\":80}\n"
             "{\"step\":2,\"loss\":1,\"bad_images\":4}\n{\"step\":2,\"fid\":70}\n");
  const LogFields fields = describe(read_run(run_));
  EXPECT_EQ(field(fields, "bad_images"), "4");
  EXPECT_EQ(field(fields, "fid"), "70");
}

TEST_F(RunStateTest, DamagedLinesAreCountedAndEverythingMayBeMissing) {
  write_text(run_ / "metrics.jsonl", "{\"step\":1,\"loss\":0.5}\nnoise\n{\"step\":\"two\"}\n[1]\n\n{\"step\":3,\"lo");
  RunState s = read_run(run_);
  EXPECT_EQ(s.step, 1);
  EXPECT_EQ(s.bad_lines, 5);
  EXPECT_EQ(field(describe(s), "checkpoint"), "none");
  EXPECT_TRUE(std::isnan(s.seconds_left()));
  EXPECT_NE(field(describe(s), "config_error").find("config.yaml: cannot open"), std::string::npos);
  write_text(run_ / "config.yaml", "train: {no_such_key: 1}\n");
  EXPECT_NE(read_run(run_).config_error.find("config.yaml:1: unknown key 'train.no_such_key'"), std::string::npos);
  write_text(run_ / "metrics.jsonl", "");
  s = read_run(run_);
  EXPECT_EQ(s.step, 0);
  EXPECT_NE(error_of([&] { loss_plot(s); }).find("metrics.jsonl: has no loss to draw"), std::string::npos);
}

TEST_F(RunStateTest, TheProgramPrintsItAndDrawsIt) {
  trained(30);
  const fs::path png = dir_ / "loss.png";
  const Ended text = run_program("uvic-info", {run_.string(), "--plot", png.string()});
  EXPECT_EQ(text.status, 0) << text.err;
  for (const char* part : {"step             30\n", "checkpoint       step-00000030\n", "checkpoint_whole yes\n",
                           "\n\nfile ", "parameters"})
    EXPECT_NE(text.out.find(part), std::string::npos) << part << " is not in\n" << text.out;
  EXPECT_EQ(read_image(png).width, 960);
  const auto j = nlohmann::json::parse(run_program("uvic-info", {run_.string(), "--json"}).out, nullptr, false);
  ASSERT_TRUE(j.is_object());
  EXPECT_EQ(j["run"]["step"], 30);
  EXPECT_EQ(j["step"], 30);
  EXPECT_EQ(j["config"]["img_size"], 8);
  // Before the first checkpoint there is no model yet; other folders and files have no loss.
  for (const fs::path& folder : list_checkpoints(run_)) fs::remove_all(folder);
  const auto early = nlohmann::json::parse(run_program("uvic-info", {run_.string(), "--json"}).out, nullptr, false);
  ASSERT_TRUE(early.is_object());
  EXPECT_EQ(early["run"]["checkpoint"], "none");
  EXPECT_TRUE(failed_clearly(run_program("uvic-info", {dir_.string(), "--plot", png.string()}), "uvic-info", 1,
                             {"not a run folder"}));
}

}  // namespace
}  // namespace uvic::test
