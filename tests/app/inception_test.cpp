// InceptionV3 from pixels to features, against golden data of the reference tools.

#include "app/inception_input.h"

#include "tests/app/image_fixtures.h"
#include "tests/model/inception_fixtures.h"

namespace uvic {
namespace {

using namespace test;
namespace fs = std::filesystem;

// Of the largest value. What one layer's rounding in split form, a few 1e-6, leaves behind the whole network; f32
// itself is allowed no less in the reference's own account of these files.
constexpr double kFeatures = 2e-5, kLogits = 5e-5;

OwnedTensor inputs(const std::vector<Image>& images, Protocol protocol, bool unit = false) {
  const int64_t side = Inception::kSide;
  OwnedTensor x({}, DType::f32, {static_cast<int64_t>(images.size()), 3, side, side});
  for (size_t i = 0; i < images.size(); ++i) {
    const auto n = static_cast<int64_t>(i);
    inception_input(images[i], protocol, unit, x.tensor.rows(n, n + 1).view({3, side, side}));
  }
  return x;
}

// [N, 3, h, w] or, if interleaved, [N, h, w, 3] u8.
std::vector<Image> images_of(Tensor t, bool interleaved) {
  std::vector<Image> images;
  const int64_t h = t.dim(interleaved ? 1 : 2), w = t.dim(interleaved ? 2 : 3);
  for (int64_t n = 0; n < t.dim(0); ++n) {
    Image image{static_cast<int>(h), static_cast<int>(w), std::vector<uint8_t>(static_cast<size_t>(3 * h * w))};
    const auto* from = static_cast<const uint8_t*>(t.raw()) + n * 3 * h * w;
    for (int64_t i = 0; i < h * w; ++i)
      for (int64_t c = 0; c < 3; ++c)
        image.rgb[static_cast<size_t>(i * 3 + c)] = interleaved ? from[i * 3 + c] : from[c * h * w + i];
    images.push_back(std::move(image));
  }
  return images;
}

class InceptionTest : public ::testing::TestWithParam<Isa> {
 protected:
  Context ctx{{.device = {}, .threads = 2, .isa = GetParam()}};
};
INSTANTIATE_TEST_SUITE_P(Everywhere, InceptionTest, ::testing::ValuesIn(isas()),
                         [](const auto& isa) { return std::string(name_of(isa.param)); });

struct Output {
  const char* name;
  Tensor Inception::Outputs::*tensor;
  int64_t width;
  double tolerance;
};
const Output kOutputs[] = {{"64", &Inception::Outputs::pool1, 64, kFeatures},
                           {"192", &Inception::Outputs::pool2, 192, kFeatures},
                           {"768", &Inception::Outputs::mixed_6e, 768, kFeatures},
                           {"2048", &Inception::Outputs::pool3, 2048, kFeatures},
                           {"logits", &Inception::Outputs::logits, 1008, kLogits},
                           {"logits_unbiased", &Inception::Outputs::logits_unbiased, 1008, kLogits},
                           {"spatial", &Inception::Outputs::spatial, 2023, kLogits}};

TEST_P(InceptionTest, GeneratedNetworkMatchesReference) {
  const fs::path dir = reference_dir("eval") / "inception";
  const SafetensorsFile images(dir / "images.safetensors"), expected(dir / "expected.safetensors");
  const Inception network(ctx, generated_inception());
  EXPECT_EQ(network.classes(), 1008);
  for (const std::string set : {"299", "32"})
    for (const std::string path : {"ptfid", "tf"}) {
      if (!images.contains("images" + set)) continue;
      const std::string key = path + "." + set + ".";
      const OwnedTensor x =
          inputs(images_of(images.tensor("images" + set), false), path == "tf" ? Protocol::tf1 : Protocol::pytorch);
      Inception::Outputs out;
      std::vector<OwnedTensor> memory;
      for (const Output& o : kOutputs) {
        memory.emplace_back(Device{}, DType::f32, Shape{x.tensor.dim(0), o.width});
        out.*o.tensor = memory.back().tensor;
      }
      int stages = 0;
      network.forward(ctx, x.tensor, out, [&](const std::string& name, const FeatureMap& map, int64_t first) {
        if (first > 0 || !expected.contains(key + "stage." + name)) return;
        const OwnedTensor mean({}, DType::f32, {map.B, map.channels});
        spatial_mean(ctx, map, mean.tensor);
        EXPECT_CLOSE_MAX(values(mean.tensor.rows(0, 1)), values(expected.tensor(key + "stage." + name)), kFeatures)
            << key << name;
        ++stages;
      });
      for (const Output& o : kOutputs)
        if (expected.contains(key + o.name)) {
          const double far = relative_max(values(out.*o.tensor), values(expected.tensor(key + o.name)));
          EXPECT_LE(far, o.tolerance) << key << o.name;
        }
      EXPECT_EQ(stages, path == "ptfid" ? 16 : 0);
    }
}

// A network with trained weights, whose Mixed_7c averages, and its means after every block.
TEST_P(InceptionTest, TrainedNetworkMatchesReference) {
  const fs::path reference = reference_dir("eval").parent_path();
  const fs::path weights = reference.parent_path() / "data" / "inception_v3_nsfwjs_fp16.safetensors";
  if (!fs::exists(weights)) GTEST_SKIP() << "no " << weights;
  const SafetensorsFile golden(reference / "eval_inception_real.safetensors");
  const std::vector<Image> images = images_of(golden.tensor("images"), true);
  for (const auto& [name, pool, unit] : {std::tuple{"pool3", Pool::average, false},
                                         {"pool3_max7c", Pool::max, false},
                                         {"pool3_01", Pool::average, true}}) {
    const Inception network(ctx, read_weights(weights), pool);
    EXPECT_EQ(network.classes(), 0);
    const OwnedTensor x = inputs(images, Protocol::pytorch, unit), pool3({}, DType::f32, {8, 2048});
    network.forward(ctx, x.tensor, {.pool3 = pool3.tensor},
                    [&](const std::string& stage, const FeatureMap& map, int64_t first) {
                      if (std::string(name) != "pool3" || !golden.contains("mean." + stage)) return;
                      const OwnedTensor mean({}, DType::f32, {map.B, map.channels});
                      spatial_mean(ctx, map, mean.tensor);
                      EXPECT_CLOSE_MAX(values(mean.tensor),
                                       values(golden.tensor("mean." + stage).rows(first, first + map.B)), kFeatures)
                          << stage;
                    });
    EXPECT_CLOSE_MAX(values(pool3.tensor), values(golden.tensor(name)), kFeatures) << name;
  }
}

}  // namespace
}  // namespace uvic
