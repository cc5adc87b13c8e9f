// Runs on latents and texts: what fits and what does not, and that they end the same however they came to the end.

#include "app/training_data.h"

#include "app/trainer.h"
#include "tests/app/latent_fixtures.h"
#include "tests/app/program.h"
#include "tests/app/trainer_fixture.h"

namespace uvic::test {
namespace {

namespace fs = std::filesystem;

class TrainingDataTest : public TrainerTest {
 protected:
  // Moments of 3 classes with those of the mirrored images, or moments with texts.
  RunConfig latent_run(bool text) {
    const fs::path folder = dir_ / (text ? "text" : "latents");
    RunConfig c = tiny_run(folder);
    c.data = latents_at(folder);
    c.model.in_chans = 2;
    if (text) c.model.num_classes = -1, c.model.null_class = false, c.model.num_clip_token = 5, c.model.clip_dim = 6;
    if (fs::exists(folder)) return c;
    const MadeLatents m{.classes = text ? 0 : 3, .flips = !text};
    write_latents(folder, m, {{"autoencoder", "ae.pth"}, {"scale_factor", 0.25}});
    MadeTexts texts;
    for (int64_t i = 0; i < m.images; ++i) texts.names.push_back(made_name(m, i));
    if (text) write_texts(folder, texts);
    return c;
  }
  std::string misfit(const RunConfig& c) {
    return error_of([&] { TrainingData(c.data).check_fits(c); });
  }
};

TEST_F(TrainingDataTest, WhatDoesNotFitIsSaidInOneLine) {
  const RunConfig labels = latent_run(false), text = latent_run(true);
  TrainingData(labels.data).check_fits(labels);
  TrainingData(text.data).check_fits(text);
  const std::string where = labels.data.path + ": ";
  RunConfig c = labels;
  c.model.in_chans = 4;
  EXPECT_EQ(misfit(c), where + "latents of 2 channels, but model.in_chans is 4");
  c = labels;
  c.model.img_size = 16;
  EXPECT_EQ(misfit(c), where + "latents of 8 x 8, but model.img_size is 16");
  c = labels;
  c.model.num_classes = 3;
  EXPECT_EQ(misfit(c), where + "has 3 classes, but model.num_classes is 3 with a null class: it must be 4");
  c.data = text.data;
  EXPECT_EQ(misfit(c), text.data.path + ": has no classes, but model.num_classes is 3");
  c = text;
  c.data = labels.data;
  EXPECT_EQ(misfit(c), where + "has no texts, but model.num_clip_token is 5");
  c = text;
  c.model.clip_dim = 768;
  EXPECT_EQ(misfit(c),
            text.data.path + ": texts of 5 tokens of width 6, but model.num_clip_token is 5 and model.clip_dim 768");
  c = labels;
  c.data.classes = {"class0", "class1", "class2"};
  EXPECT_NE(misfit(c).find("data.classes is set"), std::string::npos);
  write_latents(dir_ / "tiny", {}, {{"autoencoder_kind", "tiny"}, {"scale_factor", int64_t{1}}});
  c = labels;
  c.data.path = dir_ / "tiny";
  TrainingData(c.data).check_fits(c);
  c.latents.scale_factor = 0.18215;
  EXPECT_EQ(misfit(c),
            c.data.path + ": latents of a tiny autoencoder, whose scale is 1, but latents.scale_factor is 0.18215");
}

TEST_F(TrainingDataTest, TheScaleIsTheConfigsOrTheAutoencoders) {
  const RunConfig c = latent_run(false);
  const TrainingData data(c.data);
  EXPECT_EQ(data.samples(), 24);
  EXPECT_EQ(latent_scale(c, data.latents()), 0.25);
  RunConfig own = c;
  own.latents.scale_factor = 0.2301;
  EXPECT_EQ(latent_scale(own, data.latents()), 0.2301);
  const TrainingData images(tiny_run(data_).data);
  EXPECT_EQ(latent_scale(c, images.latents()), 0);
  EXPECT_EQ(images.samples(), 15);
}

class TrainingDataOnDevice : public TrainingDataTest, public ::testing::WithParamInterface<Device> {
 protected:
  TrainingDataOnDevice() { device_ = GetParam(); }
};
INSTANTIATE_TEST_SUITE_P(Devices, TrainingDataOnDevice, ::testing::ValuesIn(devices()), device_name);

TEST_P(TrainingDataOnDevice, RunsOnLatentsEndWithTheSameBitsWhateverStoppedThem) {
  for (const bool text : {false, true}) {
    SCOPED_TRACE(text);
    const RunConfig config = latent_run(text);
    const fs::path whole = dir_ / concat("whole", text), killed = dir_ / concat("killed", text);
    EXPECT_EQ(run(config, whole).step, 30);
    leave_as_killed(whole, killed, 15, read_text(whole / "metrics.jsonl").size());
    EXPECT_EQ(run(config, killed).step, 30);
    expect_same_end(killed, whole, 30);
    RunConfig others = config;
    others.train.accumulate = 2;
    others.data.workers = 5;
    run(others, dir_ / concat("others", text));
    expect_same_losses(dir_ / concat("others", text), whole);
    const ModelInfo info = model_info(read_weights(whole / step_name(30) / "model.safetensors"));
    EXPECT_EQ(info.scale_factor, 0.25);
    EXPECT_EQ(info.autoencoder, "ae.pth");
    EXPECT_EQ(info.text_encoder, text ? "tower.safetensors" : "");
    EXPECT_EQ(info.class_names.size(), text ? 0u : 3u);
  }
}

TEST_F(TrainingDataTest, ProcessesShareBatchesOfLatents) {
  if (std::string(UVIC_MPIEXEC).empty()) GTEST_SKIP() << "no MPI";
  const RunConfig config = latent_run(true);
  run(config, dir_ / "one");
  write_text(dir_ / "run.yaml", dump_config(config));
  const Ended end = run_program("uvic-train", {"-q", "-c", dir_ / "run.yaml", "-o", dir_ / "two"}, {.processes = 2});
  EXPECT_EQ(end.status, 0) << end.err;
  expect_same_losses(dir_ / "two", dir_ / "one");
}

TEST_F(TrainingDataTest, ADryRunComparesTheConfigWithTheData) {
  const RunConfig config = latent_run(false);
  write_text(dir_ / "run.yaml", dump_config(config));
  const std::vector<std::string> arguments{"-c", dir_ / "run.yaml", "--dry-run"};
  const Ended fits = run_program("uvic-train", arguments);
  EXPECT_EQ(fits.status, 0) << fits.err;
  EXPECT_NE(fits.err.find("24 images: 30 steps are 5 epochs"), std::string::npos) << fits.err;
  std::vector<std::string> other = arguments;
  other.insert(other.end(), {"--set", "model.in_chans=4"});
  EXPECT_TRUE(failed_clearly(run_program("uvic-train", other), "uvic-train", 1,
                             {"latents of 2 channels, but model.in_chans is 4"}));
  other = arguments;
  other.insert(other.end(), {"--set", "data.path=absent"});
  EXPECT_NE(run_program("uvic-train", other).err.find("epochs are not known: absent: no such folder"),
            std::string::npos);
}

}  // namespace
}  // namespace uvic::test
