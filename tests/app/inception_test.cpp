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
  OwnedTensor x(host(), DType::f32, {static_cast<int64_t>(images.size()), 3, side, side});
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

class InceptionTest : public ::testing::TestWithParam<Where> {
 protected:
  Context ctx = context(GetParam());
};
INSTANTIATE_TEST_SUITE_P(Everywhere, InceptionTest, ::testing::ValuesIn(everywhere_and_gpu({DType::f32})), where_name);

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

// Of the first image: means over space after each module, and a corner [C, h, w] of two of them. Returns how many
// modules were compared.
int compare_stages(Context& ctx, const Inception& network, Tensor x, const Inception::Outputs& out,
                   const SafetensorsFile& expected, const std::string& key) {
  int stages = 0;
  network.forward(ctx, x, out, [&](const std::string& name, const FeatureMap& map, int64_t first) {
    const std::string stage = key + "stage." + name;
    if (first > 0 || !expected.contains(stage)) return;
    const OwnedTensor mean(host(), DType::f32, {map.B, map.channels});
    spatial_mean(ctx, map, mean.tensor);
    EXPECT_CLOSE_MAX(values(mean.tensor.rows(0, 1)), values(expected.tensor(stage)), kFeatures) << stage;
    ++stages;
    if (!expected.contains(stage + ".corner")) return;
    const Tensor corner = expected.tensor(stage + ".corner");
    const FeatureMap channels = map.images(0, 1).range(0, corner.dim(0));
    const OwnedTensor pixels(host(), DType::f32, {1, map.h, map.w, corner.dim(0)});
    to_tensor(ctx, channels, pixels.tensor);
    settle();
    std::vector<double> got;
    for (int64_t i = 0; i < corner.numel(); ++i) {
      const int64_t c = i / (corner.dim(1) * corner.dim(2)), row = i / corner.dim(2) % corner.dim(1);
      got.push_back(at(pixels.tensor, (row * map.w + i % corner.dim(2)) * corner.dim(0) + c));
    }
    EXPECT_CLOSE_MAX(got, values(corner), kLogits) << stage << ".corner";
  });
  return stages;
}

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
        memory.emplace_back(host(), DType::f32, Shape{x.tensor.dim(0), o.width});
        out.*o.tensor = memory.back().tensor;
      }
      EXPECT_EQ(compare_stages(ctx, network, x.tensor, out, expected, key), path == "ptfid" ? 16 : 0);
      for (const Output& o : kOutputs) {
        if (!expected.contains(key + o.name)) continue;
        EXPECT_CLOSE_MAX(values(out.*o.tensor), values(expected.tensor(key + o.name)), o.tolerance) << key << o.name;
      }
    }
  if (!fs::exists(dir / "end_to_end.safetensors")) return;
  const SafetensorsFile sets(dir / "end_to_end.safetensors");
  for (const std::string set : {"ref", "sample"}) {
    const OwnedTensor x = inputs(images_of(sets.tensor(set), false), Protocol::pytorch);
    const OwnedTensor pool3(host(), DType::f32, {x.tensor.dim(0), 2048});
    network.forward(ctx, x.tensor, {.pool3 = pool3.tensor});
    EXPECT_CLOSE_MAX(values(pool3.tensor), values(sets.tensor(set + ".ptfid")), kFeatures) << set;
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
    if (GetParam().isa != best_isa() && std::string(name) != "pool3") continue;  // one code for all three
    const Inception network(ctx, read_weights(weights), pool);
    EXPECT_EQ(network.classes(), 0);
    const OwnedTensor x = inputs(images, Protocol::pytorch, unit), pool3(host(), DType::f32, {8, 2048});
    network.forward(ctx, x.tensor, {.pool3 = pool3.tensor},
                    [&](const std::string& stage, const FeatureMap& map, int64_t first) {
                      if (std::string(name) != "pool3" || !golden.contains("mean." + stage)) return;
                      const OwnedTensor mean(host(), DType::f32, {map.B, map.channels});
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
