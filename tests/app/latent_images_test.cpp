// Models on latents, all the way to images: the autoencoder is found, decodes, encodes, and shows how a run comes
// along.

#include "app/latent_images.h"

#include "app/sampled_images.h"
#include "kernels/ops/pointwise.h"
#include "tests/app/latent_fixtures.h"
#include "tests/app/trainer_fixture.h"
#include "tests/model/autoencoder_fixtures.h"

namespace uvic::test {
namespace {

namespace fs = std::filesystem;

UViCConfig latent_model() {
  UViCConfig c = tiny_model();
  c.in_chans = 4;
  return c;
}

class LatentImagesTest : public FolderTest {
 protected:
  // The autoencoder has three levels: four pixels a latent.
  LatentImagesTest() { write_unsynced(generated_tiny_b(), autoencoder_); }

  SampleRequest request() {
    SampleRequest r;
    r.device = "cpu";
    r.model = model_;
    r.seeds = {3, 4, 5};
    r.generator.sampler.steps = 2;
    r.dtype = "f32";
    r.threads = 1;
    r.progress = Progress::Style::quiet;
    return r;
  }
  // What the model itself makes.
  std::vector<double> results(SampleRequest r) {
    r.tensor = dir_ / "latents.safetensors";
    sample_images(r);
    return values(SafetensorsFile(r.tensor).tensor("images"));
  }
  // What a sampled PNG has to hold.
  std::vector<uint8_t> decoded(const std::vector<double>& latents, double scale) {
    Context ctx({.threads = 1});
    std::vector<double> z = latents;
    for (double& v : z) v /= scale;
    const int64_t n = static_cast<int64_t>(z.size()) / 256;
    const OwnedTensor from = tensor_of(DType::f32, {n, 4, 8, 8}, z), images({}, DType::f32, {n, 3, 32, 32});
    Autoencoder::load(autoencoder_)->decode(ctx, from.tensor, images.tensor);
    const OwnedTensor pixels({}, DType::u8, {n, 32, 32, 3});
    image_to_pixels(ctx, images.tensor, pixels.tensor);
    const auto* bytes = pixels.tensor.data<uint8_t>();
    return {bytes, bytes + pixels.tensor.numel()};
  }

  const fs::path autoencoder_ = dir_ / "autoencoder.safetensors";
  const fs::path model_ = write_random_model(dir_ / "model.safetensors", latent_model(), {"cat", "dog", "eel"});
};

TEST_F(LatentImagesTest, SamplesAreDecodedWithWhatLiesBesideTheModel) {
  const std::vector<uint8_t> want = decoded(results(request()), 0.18215);
  for (const int batch : {2, 3}) {
    SampleRequest r = request();
    r.batch = batch;
    r.out = dir_ / concat("out-", batch);
    sample_images(r);
    for (size_t i = 0; i < 3; ++i) {
      const fs::path png = r.out / concat("00000", 3 + i, ".png");
      const Image image = read_image(png);
      EXPECT_EQ(image.height, 32);
      const auto begin = want.begin() + static_cast<std::ptrdiff_t>(i * 32 * 32 * 3);
      EXPECT_TRUE(std::equal(image.rgb.begin(), image.rgb.end(), begin)) << png;
      const auto j = nlohmann::json::parse(inspect_png(png)->parameters);
      EXPECT_EQ(j["autoencoder"], "autoencoder.safetensors");
      EXPECT_EQ(j["scale_factor"], 0.18215);
    }
  }
}

TEST_F(LatentImagesTest, PathAndScaleFactorComeFromTheModelOrTheOptions) {
  fs::create_directories(dir_ / "parts");
  fs::rename(autoencoder_, dir_ / "parts" / "kl.safetensors");
  SampleRequest r = request();
  r.model = write_random_model(dir_ / "own" / "model.safetensors", latent_model(), {}, 1,
                               {.scale_factor = 0.25, .autoencoder = "../parts/kl.safetensors"});
  r.out = dir_ / "out";
  sample_images(r);
  const auto parameters = [&] { return nlohmann::json::parse(inspect_png(r.out / "000003.png")->parameters); };
  EXPECT_EQ(parameters()["autoencoder"], "kl.safetensors");
  EXPECT_EQ(parameters()["scale_factor"], 0.25);
  r.out = dir_ / "other";
  r.model = model_;
  r.latents = {.autoencoder = dir_ / "parts" / "kl.safetensors", .scale_factor = 0.5};
  sample_images(r);
  EXPECT_EQ(parameters()["scale_factor"], 0.5);
}

TEST_F(LatentImagesTest, SaysWhereItLookedUnlessLatentsAreAllThatIsWanted) {
  fs::remove(autoencoder_);
  EXPECT_EQ(results(request()).size(), size_t{3 * 4 * 8 * 8});
  SampleRequest r = request();
  r.grid = dir_ / "grid.png";
  const std::string error = error_of([&] { sample_images(r); });
  EXPECT_TRUE(error.starts_with(model_.string() + ": its autoencoder is missing; looked in " + dir_.string() +
                                " for autoencoder_kl.pth, "))
      << error;
  for (const char* name : {" vae/,", " autoencoder.safetensors,", " taef2_decoder.pth,"})
    EXPECT_NE(error.find(name), std::string::npos) << name;
}

TEST_F(LatentImagesTest, RefusesWhatDoesNotFit) {
  UViCConfig other = latent_model();
  other.in_chans = 5;
  SampleRequest r = request();
  r.grid = dir_ / "grid.png";
  r.model = write_random_model(dir_ / "five.safetensors", other);
  EXPECT_EQ(error_of([&] { sample_images(r); }),
            autoencoder_.string() + ": decodes latents of 4 channels, " + r.model.string() + " makes 5");
  r.model = write_random_model(dir_ / "rgb.safetensors", tiny_model());
  r.latents.autoencoder = autoencoder_;
  EXPECT_EQ(error_of([&] { sample_images(r); }), "--autoencoder: " + r.model.string() + " makes images, not latents");
}

// With a mask that paints nothing, the result is the latent of the image itself.
TEST_F(LatentImagesTest, AnImageToStartFromIsEncoded) {
  const auto write = [&](const char* name, Image image) { write_png(dir_ / name, image.tensor()); };
  const Image image = test_image(32, 32, 1);
  write("image.png", image);
  write("black.png", {32, 32, std::vector<uint8_t>(32 * 32 * 3, 0)});
  SampleRequest r = request();
  r.init_image = dir_ / "image.png";
  r.mask = dir_ / "black.png";
  const std::vector<double> got = results(r);
  Context ctx({.threads = 1});
  Image source = image;
  const OwnedTensor x({}, DType::f32, {1, 3, 32, 32}), moments({}, DType::f32, {1, 8, 8, 8});
  pixels_to_image(ctx, source.tensor().view({1, 32, 32, 3}), x.tensor);
  Autoencoder::load(autoencoder_)->encode(ctx, x.tensor, moments.tensor);
  std::vector<double> want = values(moments.tensor);
  want.resize(256);
  for (double& v : want) v *= 0.18215;
  for (size_t i = 0; i < 3; ++i)
    EXPECT_CLOSE_MAX(std::vector<double>(got.begin() + static_cast<std::ptrdiff_t>(256 * i),
                                         got.begin() + static_cast<std::ptrdiff_t>(256 * (i + 1))),
                     want, 1e-5);
  r.mask.clear();
  EXPECT_GT(relative_max(results(r), std::vector<double>(got)), 0.01);
}

TEST_F(LatentImagesTest, TheirImagesCanBeEvaluated) {
  const SampleRequest r = request();
  SampledImages images(r);
  const Image image = images.fetch(1)();
  EXPECT_EQ(image.height, 32);
  const std::vector<uint8_t> want = decoded(results(r), 0.18215);
  EXPECT_TRUE(std::equal(image.rgb.begin(), image.rgb.end(), want.begin() + 32 * 32 * 3));
}

TEST_F(LatentImagesTest, PreviewsOfARunAreDecodedIfTheyCanBe) {
  write_latents(dir_ / "data", {.latent = {8, 8, 8}},
                {{"autoencoder", autoencoder_.string()}, {"scale_factor", 0.18215}});
  RunConfig c = tiny_run(dir_ / "data");
  c.data = latents_at(dir_ / "data");
  c.model = latent_model();
  c.train.max_steps = 2;
  c.sample.every = 1;
  const auto run = [&](const char* name) {
    train({.config = c, .out = dir_ / name, .device = {}, .progress = Progress::Style::quiet});
    return inspect_png(dir_ / name / "samples" / "step-00000002.png");
  };
  const auto grid = run("run");
  ASSERT_TRUE(grid);
  EXPECT_EQ(grid->height, 2 + 2 * 34);  // three classes, four images of 32 pixels
  EXPECT_EQ(grid->width, 2 + 3 * 34);
  fs::remove(autoencoder_);
  ::testing::internal::CaptureStderr();
  EXPECT_FALSE(run("blind"));
  const std::string said = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(said.find("uvic-train: no previews: "), std::string::npos) << said;
  EXPECT_NE(said.find(concat("; in ", (dir_ / "blind").string(), " for autoencoder_kl.pth, ")), std::string::npos)
      << said;
  EXPECT_NE(said.find("; latents.autoencoder names it\n"), std::string::npos) << said;
}

}  // namespace
}  // namespace uvic::test
