// A FID now and then while a run trains: logged with what it stands on, and without a trace in the training.

#include <chrono>
#include <thread>

#include "app/trainer.h"
#include "tests/app/fid_fixtures.h"
#include "tests/app/latent_fixtures.h"
#include "tests/app/text_fixtures.h"
#include "tests/model/autoencoder_fixtures.h"

namespace uvic::test {
namespace {

namespace fs = std::filesystem;

class EvaluationTest : public ImageFolderTest {
 protected:
  EvaluationTest() {
    write_golden_sets(dir_);
    Processes alone{World{}};
    write_reference(fid_request(dir_ / "ref.npz", {}, network_.path()), dir_ / "stats.npz", alone);
  }
  RunConfig config() {
    RunConfig c = tiny_run(data_);
    c.train.max_steps = 10;
    c.sample.cfg_scale = 3;
    c.eval.fid_every = 5;
    c.eval.stats = (dir_ / "stats.npz").string();
    c.eval.network = network_.path().string();
    c.eval.num_images = 7;
    c.eval.batch = 3;
    return c;
  }
  void run(const RunConfig& c, const fs::path& out) {
    train({.config = c, .out = out, .device = {}, .progress = Progress::Style::quiet});
  }

  // The FIDs in the log of a run are those of its checkpoints.
  void expect_what_uvic_fid_finds(const RunConfig& c, const fs::path& run) {
    std::map<int64_t, nlohmann::json> lines;
    for (const nlohmann::json& line : metrics_of(run))
      if (line.contains("fid")) lines[line["step"]] = line;
    ASSERT_EQ(lines.size(), 2u);  // after 5 and 10
    FidRequest r = fid_request(run, dir_ / "stats.npz", network_.path());
    r.num = 7;
    r.sample.generator.sampler.steps = c.sample.steps;
    r.sample.generator.guidance.scale = c.sample.cfg_scale;
    r.sample.prompts_file = c.eval.prompts_file;
    r.sample.dtype = "f32";
    Processes alone{World{}};
    const FidOutcome found = compare_sets(r, alone);
    ASSERT_EQ(found.results.size(), 2u);
    for (const FidResult& result : found.results) {
      const nlohmann::json& line = lines.at(result.a.step);
      EXPECT_NEAR(line["fid"], values_of(result).at("fid"), 1e-9 * values_of(result).at("fid")) << line;
      EXPECT_EQ(line["fid_protocol"], "tf1");
      EXPECT_EQ(line["fid_images"], 7);
      EXPECT_EQ(line["fid_reference_images"], 14);
      EXPECT_EQ(line["fid_cfg_scale"], 3);
      EXPECT_EQ(line["fid_sampler"], "dpm++");
    }
  }

  fs::path data_ = class_folders(3, 5);
  NetworkFile network_;
};

TEST_F(EvaluationTest, LogsWhatUvicFidFindsAndChangesNoBit) {
  const RunConfig with = config();
  RunConfig without = with;
  without.eval = {};
  run(with, dir_ / "with");
  run(without, dir_ / "without");
  // The models hold the config that made them, so that only the state can be the same file.
  EXPECT_TRUE(read_text(dir_ / "with/step-00000010/state.safetensors") ==
              read_text(dir_ / "without/step-00000010/state.safetensors"));

  expect_what_uvic_fid_finds(with, dir_ / "with");
}

TEST_F(EvaluationTest, ModelsOnLatentsAreDecoded) {
  const fs::path autoencoder = write_unsynced(generated_tiny_b(), dir_ / "autoencoder.safetensors");
  write_latents(dir_ / "latents", {.latent = {8, 8, 8}}, {{"autoencoder", autoencoder.string()}});
  RunConfig c = config();
  c.model.in_chans = 4;
  c.data = latents_at(dir_ / "latents");
  run(c, dir_ / "run");
  expect_what_uvic_fid_finds(c, dir_ / "run");
  fs::remove(autoencoder);
  EXPECT_NE(error_of([&] { run(c, dir_ / "blind"); }).find("its autoencoder is missing"), std::string::npos);
}

TEST_F(EvaluationTest, TextModelsShowTheirPrompts) {
  const fs::path autoencoder = write_unsynced(generated_tiny_b(), dir_ / "autoencoder.safetensors");
  write_latents(dir_ / "latents", {.classes = 0, .latent = {8, 8, 8}}, {{"autoencoder", autoencoder.string()}});
  write_texts(dir_ / "latents", {.names = std::vector<std::string>(12), .context = {12, 8}});
  write_text(dir_ / "prompts.txt", "a cat\na dog\nmany birds\n");
  RunConfig c = config();
  c.model = tiny_text_model();
  c.model.in_chans = 4;
  c.data = latents_at(dir_ / "latents");
  c.latents.text_encoder = write_tower(dir_ / "clip").string();
  c.eval.prompts_file = (dir_ / "prompts.txt").string();
  run(c, dir_ / "run");
  expect_what_uvic_fid_finds(c, dir_ / "run");
  fs::remove_all(dir_ / "clip");
  EXPECT_NE(error_of([&] { run(c, dir_ / "mute"); }).find("its text encoder is missing"), std::string::npos);
}

TEST_F(EvaluationTest, AStopEndsItAndKeepsTheRun) {
  RunConfig c = config();
  c.eval.num_images = 1 << 30;  // would take days
  volatile std::sig_atomic_t stop = 0;
  std::jthread user([&] {  // asks to stop when the first step's evaluation is under way
    while (!fs::exists(dir_ / "run/step-00000005/state.json"))
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    stop = 1;
  });
  c.train.save_every = 5;
  const TrainOutcome o =
      train({.config = c, .out = dir_ / "run", .device = {}, .progress = Progress::Style::quiet, .stop = &stop});
  EXPECT_TRUE(o.interrupted);
  EXPECT_EQ(o.step, 5);
  for (const nlohmann::json& line : metrics_of(dir_ / "run")) EXPECT_FALSE(line.contains("fid"));
}

TEST_F(EvaluationTest, WhatCannotBeDoneEndsTheRunAtItsStart) {
  RunConfig c = config();
  c.eval.protocol = "clean";
  EXPECT_NE(error_of([&] { run(c, dir_ / "a"); }).find("is of protocol tf1"), std::string::npos);
  c = config();
  c.eval.stats = (dir_ / "ref.npz").string();
  EXPECT_NE(error_of([&] { run(c, dir_ / "b"); }).find("ref.npz: not statistics"), std::string::npos);
  c = config();
  c.eval.stats.clear();
  EXPECT_NE(error_of([&] { validate(c); }).find("eval.fid_every is 5, which needs eval.stats"), std::string::npos);
}

}  // namespace
}  // namespace uvic::test
