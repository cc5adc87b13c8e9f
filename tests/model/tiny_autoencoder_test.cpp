#include "tests/model/autoencoder_fixtures.h"

namespace uvic::test {
namespace {

namespace fs = std::filesystem;

class TinyAutoencoderTest : public AutoencoderTest {};
class TinyAutoencoderOn : public AutoencoderOn {};
INSTANTIATE_TEST_SUITE_P(Devices, TinyAutoencoderOn, ::testing::ValuesIn(devices()), device_name);

// The layers of taesd's halves, four latent channels: blocks, and convolutions that resize.
const std::vector<int> kEncoderBlocks{1, 3, 4, 5, 7, 8, 9, 11, 12, 13}, kEncoderConvs{2, 6, 10};
const std::vector<int> kDecoderBlocks{3, 4, 5, 8, 9, 10, 13, 14, 15, 18}, kDecoderConvs{7, 12, 17};

// Its parameters, by the names that a file has: `prefix`, then the number less `shift`.
void add_taesd_half(TensorFile& file, bool decoder, const std::string& prefix, int shift = 0) {
  const auto add = [&](int n, const std::string& rest, const Shape& shape) {
    const std::string name = concat(decoder ? "decoder." : "encoder.", n, rest);
    file.add(concat(prefix, n - shift, rest), shape, generated_autoencoder("taesd/", name, shape));
  };
  const auto conv = [&](int n, int64_t C, int64_t M, bool bias) {
    add(n, ".weight", {M, C, 3, 3});
    if (bias) add(n, ".bias", {M});
  };
  decoder ? conv(1, 4, 64, true) : conv(0, 3, 64, true);
  for (const int n : decoder ? kDecoderBlocks : kEncoderBlocks)
    for (const char* i : {"0", "2", "4"}) {
      add(n, concat(".conv.", i, ".weight"), {64, 64, 3, 3});
      add(n, concat(".conv.", i, ".bias"), {64});
    }
  for (const int n : decoder ? kDecoderConvs : kEncoderConvs) conv(n, 64, 64, false);
  decoder ? conv(19, 64, 3, true) : conv(14, 64, 4, true);
}

TEST_P(TinyAutoencoderOn, MatchesGoldenTaesdInEveryLayout) {
  const fs::path data = fs::path(UVIC_SOURCE_DIR) / "tests" / "data" / "eval" / "autoencoder";
  const SafetensorsFile golden(data / "taesd_io.safetensors");
  TensorFile encoder, decoder, both, diffusers;
  add_taesd_half(encoder, false, "");
  add_taesd_half(decoder, true, "");
  add_taesd_half(both, false, "encoder.");
  add_taesd_half(both, true, "decoder.");
  add_taesd_half(diffusers, false, "encoder.layers.");
  add_taesd_half(diffusers, true, "decoder.layers.", 1);
  write(encoder, "taesd_encoder.safetensors");
  fs::create_directories(folder / "vae");
  write(diffusers, "vae/diffusion_pytorch_model.safetensors");
  const OwnedTensor image = copy(golden, "wide.image", DType::f32), z = copy(golden, "wide.latent", DType::f32);
  for (const fs::path& path : {write(decoder, "taesd_decoder.safetensors"), folder / "taesd_encoder.safetensors",
                               write(both, "both.safetensors"), folder / "vae"}) {
    SCOPED_TRACE(path.string());
    const auto ae = Autoencoder::load(path);
    EXPECT_TRUE(ae->is_tiny());
    EXPECT_EQ(ae->factor(), 8);
    EXPECT_EQ(ae->latent_channels(), 4);
    EXPECT_EQ(ae->latent_scale(0.18215), 1);
    const std::vector<double> moments = encode(*ae, image.tensor), half(moments.begin(), moments.begin() + 60);
    EXPECT_CLOSE_MAX(half, values(golden.tensor("wide.encoded")), kNetworkTolerance);
    EXPECT_EQ(std::vector<double>(moments.begin() + 60, moments.end()), std::vector<double>(60, -30));
    EXPECT_CLOSE_MAX(decode(*ae, z.tensor), values(golden.tensor("wide.decoded")), kNetworkTolerance);
  }
  fs::remove(folder / "taesd_encoder.safetensors");
  EXPECT_FALSE(Autoencoder::load(folder / "taesd_decoder.safetensors")->has_encoder());
}

// Real weights, of 32 latent channels; images there are in [0, 1].
TEST_P(TinyAutoencoderOn, MatchesGoldenTaef2) {
  const fs::path data = reference_dir("eval") / "taef2";
  if (!fs::exists(data)) GTEST_SKIP() << "the small golden set has no taef2";
  const auto ae = Autoencoder::load(data / "taef2_decoder.pth");
  EXPECT_EQ(ae->latent_channels(), 32);
  const SafetensorsFile golden(data / "golden.safetensors");
  const auto unit = [](std::vector<double> image) {
    for (double& v : image) v = 0.5 * v + 0.5;
    return image;
  };
  for (const std::string name : {"sq", "wide", "random"}) {
    SCOPED_TRACE(name);
    const OwnedTensor z = copy(golden, name + ".latent", DType::f32);
    EXPECT_CLOSE_MAX(unit(decode(*ae, z.tensor)), values(golden.tensor(name + ".decoded")), kNetworkTolerance);
    if (!golden.contains(name + ".image_u8")) continue;
    const Tensor u8 = golden.tensor(name + ".image_u8");
    std::vector<double> pixels = values(u8);
    for (double& v : pixels) v = v / 127.5 - 1;
    const OwnedTensor image = tensor_of(DType::f32, {1, 3, u8.dim(1), u8.dim(2)}, pixels);
    std::vector<double> moments = encode(*ae, image.tensor);
    moments.resize(moments.size() / 2);
    EXPECT_CLOSE_MAX(moments, values(z.tensor), kNetworkTolerance);
  }
}

TEST_F(TinyAutoencoderTest, StripsChangeNothing) {
  TensorFile file;
  add_taesd_half(file, false, "encoder.");
  add_taesd_half(file, true, "decoder.");
  const fs::path path = write(file);
  const OwnedTensor image = random_tensor(DType::f32, {1, 3, 40, 48}, 1),
                    z = random_tensor(DType::f32, {1, 4, 5, 6}, 2);
  const auto whole = Autoencoder::load(path, {.tile = 1000});
  const std::vector<double> moments = encode(*whole, image.tensor), decoded = decode(*whole, z.tensor);
  for (const int64_t tile : {1, 5, 0}) {
    const auto ae = Autoencoder::load(path, {.tile = tile});
    EXPECT_CLOSE_MAX(encode(*ae, image.tensor), moments, 1e-6) << tile;
    EXPECT_CLOSE_MAX(decode(*ae, z.tensor), decoded, 1e-6) << tile;
  }
}

TEST_F(TinyAutoencoderTest, SaysWhatIsWrongWithAFile) {
  TensorFile file;
  add_taesd_half(file, true, "decoder.");
  const auto error = [&](const auto& change) {
    TensorFile changed{.tensors = file.tensors};
    change(changed);
    const fs::path path = write(changed, "bad.safetensors");
    return error_of([&] { Autoencoder::load(path); }).substr(path.string().size() + 2);
  };
  EXPECT_EQ(error([](TensorFile& f) { f.entry("decoder.9.conv.2.bias").name = "decoder.9.conv.2.bais"; }),
            "tensor 'decoder.9.conv.2.bias' [64] is missing");
  EXPECT_EQ(error([](TensorFile& f) { f.entry("decoder.7.weight").tensor = f.entry("decoder.19.weight").tensor; }),
            "layer 'decoder.8' takes 64 channels, the one before gives 3");
  EXPECT_EQ(error([](TensorFile& f) {
              f.tensors.push_back({"decoder.8.x", f.tensors[0].tensor});
            }),
            "tensor 'decoder.8.x' is not in this network");
}

}  // namespace
}  // namespace uvic::test
