#include "tests/model/autoencoder_fixtures.h"

namespace uvic::test {
namespace {

namespace fs = std::filesystem;

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

INSTANTIATE_TEST_SUITE_P(Devices, AutoencoderOn, ::testing::ValuesIn(devices()), device_name);

TEST_P(AutoencoderOn, MatchesGoldenTinyB) {
  const auto ae = Autoencoder::load(write(generated_tiny_b()));
  EXPECT_EQ(ae->factor(), 4);
  EXPECT_EQ(ae->latent_channels(), 4);
  expect_golden(*ae, SafetensorsFile(autoencoder_dir() / "tiny_b_io.safetensors"), "sq");
}

TEST_P(AutoencoderOn, MatchesGoldenTinyA) {
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

// Of full size: names and shapes are those of the published file, none missing, none left over.
TEST_P(AutoencoderOn, MatchesGoldenKlF8) {
  const auto ae = Autoencoder::load(write(generated_kl_f8()));
  EXPECT_EQ(ae->factor(), 8);
  EXPECT_EQ(ae->latent_channels(), 4);
  EXPECT_EQ(ae->recorded_scale_factor(), std::nullopt);
  expect_golden(*ae, SafetensorsFile(autoencoder_dir() / "kl_f8_full_io.safetensors"), "full");
}

// The same network, narrower, under other names: the same bits.
TEST_F(AutoencoderTest, ReadsEveryLayout) {
  const TensorFile file = generated_kl_f8(4);
  const OwnedTensor image = random_tensor(DType::f32, {1, 3, 16, 24}, 6),
                    z = random_tensor(DType::f32, {1, 4, 3, 2}, 7);
  const auto ldm = Autoencoder::load(write(file));
  const std::vector<double> moments = encode(*ldm, image.tensor), decoded = decode(*ldm, z.tensor);
  fs::create_directories(folder / "vae");
  std::ofstream(folder / "vae" / "config.json") << R"({"scaling_factor": 0.2301, "norm_num_groups": 32})";
  for (const std::string layout : {"diffusers", "diffusers_old"}) {
    SCOPED_TRACE(layout);
    write({.tensors = in_layout(file, layout)}, "vae/diffusion_pytorch_model.safetensors");
    for (const fs::path& path : {folder, folder / "vae"}) {
      const auto ae = Autoencoder::load(path);
      EXPECT_EQ(ae->recorded_scale_factor(), 0.2301);
      EXPECT_EQ(encode(*ae, image.tensor), moments);
      EXPECT_EQ(decode(*ae, z.tensor), decoded);
    }
  }
  TensorFile missing{.tensors = in_layout(file, "diffusers")};
  std::erase_if(missing.tensors, [](const NamedTensor& t) { return t.name.ends_with("to_out.0.bias"); });
  EXPECT_EQ(error_of([&] { Autoencoder::load(write(missing)); }),
            (folder / "autoencoder.safetensors").string() +
                ": tensor 'encoder.mid_block.attentions.0.to_out.0.bias' [128] is missing");
}

// Another number of rows at a time, or all at once: the same image.
TEST_F(AutoencoderTest, StripsChangeNothing) {
  const fs::path path = write(generated_tiny_b());
  const OwnedTensor image = random_tensor(DType::f32, {1, 3, 60, 44}, 1),
                    z = random_tensor(DType::f32, {1, 4, 15, 11}, 2);
  const auto whole = Autoencoder::load(path, {.tile = 1000});
  const std::vector<double> moments = encode(*whole, image.tensor), decoded = decode(*whole, z.tensor);
  for (const int64_t tile : {1, 7, 0}) {
    const auto ae = Autoencoder::load(path, {.tile = tile});
    EXPECT_CLOSE_MAX(encode(*ae, image.tensor), moments, 1e-6) << tile;
    EXPECT_CLOSE_MAX(decode(*ae, z.tensor), decoded, 1e-6) << tile;
  }
}

// A batch, and images of other sizes before: the same bits; and memory that does not grow with the batch.
TEST_F(AutoencoderTest, AnImageDependsOnNoOther) {
  const auto ae = Autoencoder::load(write(generated_tiny_b()));
  const OwnedTensor images = random_tensor(DType::f32, {3, 3, 32, 40}, 3),
                    z = random_tensor(DType::f32, {3, 4, 8, 10}, 4);
  const std::vector<double> moments = encode(*ae, images.tensor), decoded = decode(*ae, z.tensor);
  ctx.arena().reset();
  const size_t peak = ctx.arena().peak();
  const int growths = ctx.arena().growths();
  for (int64_t n = 0; n < 3; ++n) {
    const std::vector<double> m = encode(*ae, images.tensor.rows(n, n + 1)), d = decode(*ae, z.tensor.rows(n, n + 1));
    EXPECT_TRUE(std::equal(m.begin(), m.end(), moments.begin() + n * static_cast<int64_t>(m.size()))) << n;
    EXPECT_TRUE(std::equal(d.begin(), d.end(), decoded.begin() + n * static_cast<int64_t>(d.size()))) << n;
  }
  EXPECT_EQ(ctx.arena().growths(), growths);
  EXPECT_EQ(ctx.arena().peak(), peak);
}

// The largest maps are the output, the input of its level and what a block keeps; strips and the rest are a tenth.
TEST_F(AutoencoderTest, MemoryIsThatOfThreeMaps) {
  const auto ae = Autoencoder::load(write(generated_kl_f8(4)));
  const int64_t h = 64, w = 64, pixels = 64 * h * w, numbers = 16 + 32 + 64 + 32;
  for (const DType dtype : {DType::f32, DType::bf16}) {
    Context own({.device = {}, .threads = 2});
    const auto reader = Autoencoder::load(ae->path(), {.dtype = dtype});
    const OwnedTensor z = random_tensor(DType::f32, {1, 4, h, w}, 8), image({}, DType::f32, {1, 3, 8 * h, 8 * w});
    reader->decode(own, z.tensor, image.tensor);
    const int64_t each = dtype == DType::bf16 && own.isa() == Isa::amx ? 2 : 4;
    const int64_t below = pixels / 4 * 64;  // the level below lies under them
    EXPECT_LT(own.arena().capacity(), static_cast<size_t>((pixels * numbers + below) * each + (24 << 20)));
  }
}

class AutoencoderEverywhere : public AutoencoderTest, public ::testing::WithParamInterface<Where> {};
INSTANTIATE_TEST_SUITE_P(Everywhere, AutoencoderEverywhere, ::testing::ValuesIn(everywhere_and_gpu({DType::f32})),
                         where_name);

// And near in bf16 where that is another thing.
TEST_P(AutoencoderEverywhere, InstructionSetsAndBf16Agree) {
  const fs::path path = write(generated_tiny_b());
  const SafetensorsFile golden(autoencoder_dir() / "tiny_b_io.safetensors");
  ctx = context(GetParam());
  expect_golden(*Autoencoder::load(path), golden, "sq");
  const auto half = Autoencoder::load(path, {.dtype = DType::bf16});
  const OwnedTensor image = copy(golden, "sq.image", DType::f32);
  EXPECT_CLOSE_L2(encode(*half, image.tensor), values(golden.tensor("sq.moments")), 0.03);
}

// What overflows in bf16 is made again in f32, and what follows too.
TEST_F(AutoencoderTest, FallsBackToF32) {
  class Overflowing final : public Autoencoder {
   public:
    explicit Overflowing(const Options& o) : Autoencoder("fake.pth", o) {}
    bool is_tiny() const override { return false; }
    int64_t latent_channels() const override { return 4; }
    int64_t factor() const override { return 8; }
    bool has_encoder() const override { return true; }
    bool has_decoder() const override { return true; }
    int in_bf16 = 0, in_f32 = 0;

   private:
    void run(DType dtype, Tensor to) {
      ++(dtype == DType::bf16 ? in_bf16 : in_f32);
      std::fill_n(to.data<float>(), to.numel(), dtype == DType::bf16 && in_bf16 > 1 ? INFINITY : 1.0f);
    }
    void encode_one(Context&, DType dtype, Tensor, Tensor moments) override { run(dtype, moments); }
    void decode_one(Context&, DType dtype, Tensor, Tensor image) override { run(dtype, image); }
  };
  std::vector<std::string> said;
  Overflowing ae({.dtype = DType::bf16, .warn = [&](const std::string& text) { said.push_back(text); }});
  const OwnedTensor z = random_tensor(DType::f32, {4, 4, 2, 2}, 1);
  for (const double v : decode(ae, z.tensor)) EXPECT_EQ(v, 1);
  EXPECT_EQ(ae.in_bf16, 2);
  EXPECT_EQ(ae.in_f32, 3);
  ASSERT_EQ(said.size(), 1u);
  EXPECT_EQ(said[0], "fake.pth: decoding in bf16 gave a number that is not finite; f32 from here on");
}

TEST_F(AutoencoderTest, SaysWhatIsWrongWithAFile) {
  const TensorFile good = generated_tiny_b();
  const auto load_error = [&](const auto& change) {
    TensorFile file{.tensors = good.tensors};
    change(file);
    const fs::path path = write(file, "bad.safetensors");
    std::string what = error_of([&] { Autoencoder::load(path); });
    EXPECT_TRUE(what.starts_with(path.string() + ": ")) << what;
    return what.substr(std::min(what.size(), path.string().size() + 2));
  };
  const auto drop = [](const std::string& name) {
    return [=](TensorFile& f) { std::erase_if(f.tensors, [&](const NamedTensor& t) { return t.name == name; }); };
  };
  EXPECT_EQ(load_error(drop("decoder.mid.attn_1.k.weight")),
            "tensor 'decoder.mid.attn_1.k.weight' [64, 64, 1, 1] is missing");
  EXPECT_EQ(load_error(drop("encoder.norm_out.bias")), "tensor 'encoder.norm_out.bias' [64] is missing");
  EXPECT_EQ(load_error([](TensorFile& f) {
              f.entry("decoder.up.1.block.0.conv2.weight").tensor = f.entry("encoder.conv_in.weight").tensor;
            }),
            "tensor 'decoder.up.1.block.0.conv2.weight' is [32, 3, 3, 3], this network needs [64, 64, 3, 3]");
  EXPECT_EQ(load_error([](TensorFile& f) {
              f.tensors.push_back({"decoder.up.7.x", f.tensors[0].tensor});
            }),
            "tensor 'decoder.up.7.x' is not in this network");
  EXPECT_EQ(load_error([](TensorFile& f) {
              f.tensors = {{"loss.x", f.tensors[0].tensor}};
            }),
            "neither the encoder nor the decoder of an autoencoder");
  EXPECT_EQ(error_of([&] { Autoencoder::load(folder / "gone.pth"); }),
            (folder / "gone.pth").string() + ": no such autoencoder file or folder");
  EXPECT_EQ(error_of([&] { Autoencoder::load(folder / "."); }).find("no autoencoder in this folder; looked for "),
            (folder / ".").string().size() + 2);
}

// A half that is absent is no error until it is asked for; what belongs to other networks of the file is none at all.
TEST_F(AutoencoderTest, ReadsOneHalfAndWholeCheckpoints) {
  TensorFile file = generated_tiny_b();
  std::erase_if(file.tensors, [](const NamedTensor& t) {
    return t.name.starts_with("encoder.") || t.name.starts_with("quant_conv.");
  });
  for (NamedTensor& t : file.tensors) t.name = "first_stage_model." + t.name;
  file.tensors.push_back({"model.diffusion_model.out.0.bias", file.tensors[1].tensor});
  file.tensors.push_back({"first_stage_model.loss.logvar", file.tensors[1].tensor});
  const auto ae = Autoencoder::load(write(file));
  EXPECT_FALSE(ae->has_encoder());
  const OwnedTensor z = random_tensor(DType::f32, {1, 4, 8, 8}, 5), image({}, DType::f32, {1, 3, 32, 32});
  EXPECT_EQ(decode(*ae, z.tensor),
            decode(*Autoencoder::load(write(generated_tiny_b(), "whole.safetensors")), z.tensor));
  EXPECT_EQ(error_of([&] { encode(*ae, image.tensor); }),
            ae->path().string() + ": holds a decoder alone, and cannot encode");
}

TEST_F(AutoencoderTest, RefusesWrongArguments) {
  const auto ae = Autoencoder::load(write(generated_tiny_b()));
  const OwnedTensor odd({}, DType::f32, {1, 3, 30, 32}), z({}, DType::f32, {1, 4, 8, 8});
  const OwnedTensor five({}, DType::f32, {1, 5, 8, 8}), image({}, DType::f32, {1, 3, 32, 32});
  EXPECT_EQ(error_of([&] { ae->encode(ctx, odd.tensor, z.tensor); }),
            "encode: images are 30 x 32, wanted multiples of 4");
  EXPECT_EQ(error_of([&] { ae->encode(ctx, image.tensor, z.tensor); }),
            "encode: moments is f32 [1, 4, 8, 8], wanted f32 [1, 8, 8, 8]");
  EXPECT_EQ(error_of([&] { ae->decode(ctx, five.tensor, image.tensor); }),
            "decode: z is f32 [1, 5, 8, 8], wanted f32 [1, 4, 8, 8]");
}

}  // namespace
}  // namespace uvic::test
