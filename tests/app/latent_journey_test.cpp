// From raw files to a number, by the programs as a user runs them: images and captions to latents and texts, training,
// samples, FID.

#include <set>

#include "app/data/latents.h"
#include "app/data/tar.h"
#include "tests/app/fid_fixtures.h"
#include "tests/app/latent_fixtures.h"
#include "tests/app/program.h"
#include "tests/app/text_fixtures.h"
#include "tests/model/autoencoder_fixtures.h"

namespace uvic::test {
namespace {

namespace fs = std::filesystem;

class LatentJourneyTest : public FolderTest {
 protected:
  // Three classes of four images each, of several formats and sizes, as a user has them.
  LatentJourneyTest() {
    const fs::path tar = fs::path(UVIC_SOURCE_DIR) / "tests" / "data" / "imagenet-mini.tar";
    for (const TarEntry& file : read_tar_index(tar)) {
      const std::vector<uint8_t> bytes = read_bytes(tar, file.offset, file.size);
      write_text(dir_ / file.name, {bytes.begin(), bytes.end()});
    }
  }

  // taef2's real weights, or, in a checkout without them, generated ones of Stable Diffusion's kind.
  fs::path autoencoder() {
    if (const fs::path real = reference_dir("eval") / "taef2" / "taef2_encoder.pth"; fs::exists(real)) return real;
    write_safetensors(dir_ / "ae.safetensors", generated_tiny_b().tensors, {});
    return dir_ / "ae.safetensors";
  }

  Ended must(const std::string& program, const std::vector<std::string>& arguments) {
    Ended end = run_program(program, arguments);
    EXPECT_EQ(end.status, 0) << program << ": " << end.err;
    return end;
  }

  // 20 steps of a shipped config, made small, on what lies in dir_/latents and has its sizes.
  void train(const std::string& yaml, const fs::path& weights, const std::vector<std::string>& more) {
    const LatentInfo info = open_latents(dir_ / "latents")->info();
    std::vector<std::string> arguments{"-q", "-c", fs::path(UVIC_SOURCE_DIR) / "configs" / yaml, "-o", dir_ / "run"};
    std::vector<std::string> sets{"data.path=" + (dir_ / "latents").string(),
                                  "latents.autoencoder=" + weights.string(),
                                  "latents.scale_factor=0",
                                  concat("model.img_size=", info.latent[1]),
                                  concat("model.in_chans=", info.channels()),
                                  "model.embed_dim=32",
                                  "model.depth=2",
                                  "model.num_heads=2",
                                  "train.batch_size=4",
                                  "train.max_steps=20",
                                  "train.dtype=f32",
                                  "sample.every=20",
                                  "sample.count=4",
                                  "sample.steps=2"};
    sets.insert(sets.end(), more.begin(), more.end());
    for (const std::string& set : sets) arguments.insert(arguments.end(), {"--set", set});
    must("uvic-train", arguments);
  }

  void expect_images(const fs::path& folder, int count) {
    for (int i = 0; i < count; ++i) {
      const Image image = read_image(folder / concat("00000", i, ".png"));
      EXPECT_EQ(image.height, 64);
      EXPECT_EQ(image.width, 64);
      EXPECT_GT(std::set<uint8_t>(image.rgb.begin(), image.rgb.end()).size(), 10u) << "a flat image";
    }
  }
};

TEST_F(LatentJourneyTest, FromAFolderOfImagesToFid) {
  const fs::path weights = autoencoder(), images = dir_ / "imagenet-mini";
  must("uvic-encode", {"images", images, "-o", dir_ / "latents", "--autoencoder", weights, "--size", "64", "--flip"});
  train("imagenet256_large.yaml", weights, {"model.num_classes=4"});
  EXPECT_EQ(read_image(dir_ / "run" / "samples" / "step-00000020.png").height, 2 * 66 + 2);
  must("uvic-sample", {"-m", dir_ / "run", "-n", "6", "--class", "all", "--steps", "4", "-o", dir_ / "out"});
  expect_images(dir_ / "out", 6);
  const NetworkFile network;
  const Ended fid = must("uvic-fid", {"calc", dir_ / "out", images, "--network", network.path(), "--json"});
  const nlohmann::json result = nlohmann::json::parse(fid.out, nullptr, false);
  ASSERT_TRUE(result.is_object() && result.contains("metrics")) << fid.out;
  EXPECT_GT(result["metrics"].value("fid", 0.0), 0) << fid.out;
}

TEST_F(LatentJourneyTest, FromImagesAndCaptionsToPrompts) {
  const fs::path weights = autoencoder(), images = dir_ / "imagenet-mini", tower = dir_ / "clip";
  write_tower(tower);
  std::string captions;
  for (const auto& item : fs::recursive_directory_iterator(images))
    if (item.is_regular_file())
      captions += nlohmann::json{{"image", fs::relative(item.path(), images)},
                                 {"captions", {"a picture", "a picture of one thing"}}}
                      .dump() +
                  "\n";
  write_text(dir_ / "captions.jsonl", captions);
  must("uvic-encode",
       {"images", images, "-o", dir_ / "latents", "--autoencoder", weights, "--size", "64", "--crop", "coco"});
  must("uvic-encode", {"text", dir_ / "captions.jsonl", "-o", dir_ / "latents", "--text-encoder", tower});
  const Shape context = open_latents(dir_ / "latents")->info().context;
  train("mscoco_small.yaml", weights,
        {concat("model.num_clip_token=", context[0]), concat("model.clip_dim=", context[1]),
         "latents.text_encoder=" + tower.string()});
  EXPECT_EQ(read_image(dir_ / "run" / "samples" / "step-00000020.png").height, 2 * 66 + 2);  // of its captions
  must("uvic-sample", {"-m", dir_ / "run", "-p", "a picture of a fish", "--cfg-scale", "2", "-n", "2", "--steps", "4",
                       "-o", dir_ / "out"});
  expect_images(dir_ / "out", 2);
}

}  // namespace
}  // namespace uvic::test
