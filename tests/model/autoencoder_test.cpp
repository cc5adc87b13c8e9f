#include "tests/model/autoencoder_fixtures.h"

namespace uvic::test {
namespace {

namespace fs = std::filesystem;

constexpr double kTolerance = 1e-4;  // of a network of some thirty layers, relative to its largest output

class AutoencoderTest : public ::testing::Test {
 protected:
  AutoencoderTest() { fs::create_directories(folder); }
  ~AutoencoderTest() override { fs::remove_all(folder); }

  fs::path write(const TensorFile& file, const std::string& name = "autoencoder.safetensors") const {
    write_safetensors(folder / name, file.tensors, {});
    return folder / name;
  }
  std::vector<double> encode(Autoencoder& ae, Tensor images) {
    const int64_t f = ae.factor();
    const OwnedTensor moments({}, DType::f32,
                              {images.dim(0), 2 * ae.latent_channels(), images.dim(2) / f, images.dim(3) / f});
    ae.encode(ctx, images, moments.tensor);
    return values(moments.tensor);
  }
  std::vector<double> decode(Autoencoder& ae, Tensor z) {
    const int64_t f = ae.factor();
    const OwnedTensor images({}, DType::f32, {z.dim(0), 3, z.dim(2) * f, z.dim(3) * f});
    ae.decode(ctx, z, images.tensor);
    return values(images.tensor);
  }
  // The golden image and latent of a case; latents there are multiplied by the scale factor.
  void expect_golden(Autoencoder& ae, const SafetensorsFile& golden, const std::string& name) {
    SCOPED_TRACE(golden.path().string() + " " + name);
    const OwnedTensor image = copy(golden, name + ".image", DType::f32);
    EXPECT_CLOSE_MAX(encode(ae, image.tensor), values(golden.tensor(name + ".moments")), kTolerance);
    for (const auto& [suffix, scale] : {std::pair("", 0.18215), std::pair("_scale_0.23010", 0.23010)}) {
      if (!golden.contains(name + ".decoded" + suffix)) continue;
      std::vector<double> z = values(golden.tensor(name + ".latent"));
      for (double& v : z) v /= scale;
      const OwnedTensor latent = tensor_of(DType::f32, golden.tensor(name + ".latent").shape(), z);
      EXPECT_CLOSE_MAX(decode(ae, latent.tensor), values(golden.tensor(name + ".decoded" + suffix)), kTolerance);
    }
  }

  const fs::path folder = fs::path(::testing::TempDir()) / "uvic_autoencoder";
  Context ctx{{.device = {}, .threads = 2}};
};

TEST_F(AutoencoderTest, GeneratorMatchesItsExamples) {
  const nlohmann::json config = nlohmann::json::parse(std::ifstream(autoencoder_dir() / "config.json"));
  const nlohmann::json names = nlohmann::json::parse(std::ifstream(autoencoder_dir() / "kl_f8_names.json"));
  ASSERT_FALSE(config["generator_examples"].empty());
  for (const auto& example : config["generator_examples"]) {
    const std::string name = example["name"];
    Shape shape;
    for (const auto& t : names["tensors"])
      if (t["ldm"] == name) shape = shape_of(t["shape"]);
    const std::vector<float> v = generated_autoencoder(example["prefix"], name, shape);
    const std::vector<double> first = example["value_first5"];
    for (size_t i = 0; i < first.size(); ++i) EXPECT_EQ(static_cast<double>(v[i]), first[i]) << name;
  }
}

TEST_F(AutoencoderTest, MatchesGoldenTinyB) {
  const auto ae = Autoencoder::load(write(generated_tiny_b()));
  EXPECT_EQ(ae->factor(), 4);
  EXPECT_EQ(ae->latent_channels(), 4);
  expect_golden(*ae, SafetensorsFile(autoencoder_dir() / "tiny_b_io.safetensors"), "sq");
}

TEST_F(AutoencoderTest, MatchesGoldenTinyA) {
  const fs::path path = autoencoder_dir() / "tiny_a.safetensors";
  if (!fs::exists(path)) GTEST_SKIP() << "the small golden set has no tiny_a";
  const SafetensorsFile golden(path);
  TensorFile file;
  for (const std::string& name : golden.names())
    if (name.starts_with("param.")) file.tensors.push_back({name.substr(6), golden.tensor(name)});
  const auto ae = Autoencoder::load(write(file));
  expect_golden(*ae, golden, "sq");
  expect_golden(*ae, golden, "wide");
}

// Of full size, in every layout: names and shapes are those of the published files, none missing, none left over.
TEST_F(AutoencoderTest, MatchesGoldenKlF8InEveryLayout) {
  const SafetensorsFile golden(autoencoder_dir() / "kl_f8_full_io.safetensors");
  for (const std::string layout : {"ldm", "diffusers", "diffusers_old"}) {
    SCOPED_TRACE(layout);
    fs::create_directories(folder / "vae");
    const fs::path path = write(generated_kl_f8(layout), "vae/diffusion_pytorch_model.safetensors");
    std::ofstream(folder / "vae" / "config.json") << R"({"scaling_factor": 0.18215, "norm_num_groups": 32})";
    const auto ae = Autoencoder::load(layout == "ldm" ? path : folder);
    EXPECT_EQ(ae->factor(), 8);
    EXPECT_EQ(ae->latent_channels(), 4);
    EXPECT_EQ(ae->recorded_scale_factor(), layout == "ldm" ? std::nullopt : std::optional(0.18215));
    expect_golden(*ae, golden, "full");
  }
}

}  // namespace
}  // namespace uvic::test
