// The preview grids of models on latents and texts: those images that uvic-sample makes of the same checkpoint.

#include "app/preview.h"

#include "app/sample_run.h"
#include "app/trainer.h"
#include "tests/app/latent_fixtures.h"
#include "tests/app/text_fixtures.h"
#include "tests/model/autoencoder_fixtures.h"

namespace uvic::test {
namespace {

namespace fs = std::filesystem;

class PreviewTest : public FolderTest {
 protected:
  PreviewTest() {
    write_unsynced(generated_tiny_b(), autoencoder_);
    write_latents(dir_ / "data", {.classes = 0, .latent = {8, 8, 8}}, {{"autoencoder", autoencoder_.string()}});
    write_texts(dir_ / "data", texts_);
  }
  RunConfig config() {
    RunConfig c = tiny_run(dir_ / "data");
    c.data = latents_at(dir_ / "data");
    c.model = tiny_text_model();
    c.model.in_chans = 4;
    c.latents.text_encoder = tower_.string();
    c.train.max_steps = 2;
    c.sample.every = 2;
    c.sample.cfg_scale = 2;
    return c;
  }
  // The grid after two steps; its path, whether it is there or not.
  fs::path trained(const RunConfig& c, const char* name) {
    train({.config = c, .out = dir_ / name, .device = {}, .progress = Progress::Style::quiet});
    return dir_ / name / "samples" / "step-00000002.png";
  }
  // What uvic-sample makes of that run in place of a grid of two columns.
  std::vector<uint8_t> sampled(const char* run, SampleRequest r) {
    r.model = dir_ / run;
    r.seeds = {0, 1, 2, 3};
    r.generator.sampler.steps = 2;
    r.generator.guidance.scale = 2;
    r.dtype = "f32";
    r.progress = Progress::Style::quiet;
    r.grid = dir_ / "grid.png";
    sample_images(r);
    return read_image(r.grid).rgb;
  }

  const fs::path autoencoder_ = dir_ / "autoencoder.safetensors";
  const fs::path tower_ = write_tower(dir_ / "clip");
  const MadeTexts texts_{.names = std::vector<std::string>(12), .context = {12, 8}};
};

TEST_F(PreviewTest, PromptsOfTheConfigTakeTurns) {
  RunConfig c = config();
  c.sample.prompts = {"a cat", ""};
  const Image grid = read_image(trained(c, "run"));
  EXPECT_EQ(grid.width, 2 + 2 * 34);
  SampleRequest r;
  r.prompts = c.sample.prompts;
  EXPECT_TRUE(grid.rgb == sampled("run", r));
  r.prompts = {"a dog", ""};
  EXPECT_FALSE(grid.rgb == sampled("run", r));
}

TEST_F(PreviewTest, WithoutPromptsCaptionsOfTheDataAreShown) {
  const Image grid = read_image(trained(config(), "run"));
  const OwnedTensor rows({}, DType::f32, {4, 12, 8}), null = made_context(texts_, -1, 0);
  for (int64_t i = 0; i < 4; ++i) assign(rows.tensor.rows(i, i + 1), values(made_context(texts_, 3 * i, 0).tensor));
  write_safetensors(dir_ / "c.safetensors", {{"context", rows.tensor}, {"null", null.tensor}}, {});
  SampleRequest r;
  r.context = dir_ / "c.safetensors";
  EXPECT_TRUE(grid.rgb == sampled("run", r));
}

TEST_F(PreviewTest, WithoutATextEncoderItTrainsAllTheSame) {
  RunConfig c = config();
  c.sample.prompts = {"a cat"};
  c.latents.text_encoder = (dir_ / "none").string();
  ::testing::internal::CaptureStderr();
  EXPECT_FALSE(fs::exists(trained(c, "run")));
  const std::string said = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(said.find("uvic-train: no previews: "), std::string::npos) << said;
  EXPECT_NE(said.find("its text encoder is missing"), std::string::npos) << said;
  EXPECT_TRUE(fs::exists(dir_ / "run" / "step-00000002"));
}

}  // namespace
}  // namespace uvic::test
