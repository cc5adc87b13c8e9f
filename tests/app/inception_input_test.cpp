#include "app/inception_input.h"

#include "model/inception.h"
#include "model/io/safetensors.h"
#include "tests/app/image_fixtures.h"

namespace uvic {
namespace {

using namespace test;

constexpr int64_t kSide = Inception::kSide;

struct Golden {
  SafetensorsFile file{reference_dir("eval") / "resize" / "resize299.safetensors"};
  Image image(const std::string& name) const {
    const Tensor t = file.tensor(name + ".input");
    const auto* rgb = static_cast<const uint8_t*>(t.raw());
    return {static_cast<int>(t.dim(0)), static_cast<int>(t.dim(1)), {rgb, rgb + t.numel()}};
  }
  // Largest difference to the golden rows: the small copy holds some of them.
  double distance(const std::string& name, const char* suffix, Protocol protocol) const {
    const OwnedTensor out({}, DType::f32, {3, kSide, kSide});
    resize_for_inception(image(name), protocol, out.tensor);
    const Tensor want = file.tensor(name + "." + suffix);
    double largest = 0;
    for (int64_t c = 0; c < 3; ++c)
      for (int64_t i = 0; i < want.dim(1); ++i) {
        const int64_t row = file.contains("rows") ? file.tensor("rows").data<int32_t>()[i] : i;
        for (int64_t x = 0; x < kSide; ++x)
          largest = std::max(largest, std::abs(at(out.tensor, (c * kSide + row) * kSide + x) -
                                               at(want, (c * want.dim(1) + i) * kSide + x)));
      }
    return largest;
  }
};

TEST(InceptionInputTest, ResizesAsTheReferenceDoes) {
  const Golden golden;
  for (const char* name : {"a", "b"}) {
    SCOPED_TRACE(name);
    EXPECT_EQ(golden.distance(name, "tf1", Protocol::tf1), 0);
    EXPECT_EQ(golden.distance(name, "clean", Protocol::clean), 0);
    EXPECT_LE(golden.distance(name, "ptfid", Protocol::pytorch), 2e-7);
  }
}

TEST(InceptionInputTest, AnImageOfTheRightSizePassesUnchanged) {
  const Image image = test_image(kSide, kSide, 3);
  const OwnedTensor out({}, DType::f32, {3, kSide, kSide});
  for (const Protocol protocol : {Protocol::tf1, Protocol::pytorch, Protocol::clean}) {
    resize_for_inception(image, protocol, out.tensor);
    const float scale = protocol == Protocol::pytorch ? 255.0f : 1.0f;
    for (const int64_t i : {0, 1, 298, 45000, 89400})
      for (int64_t c = 0; c < 3; ++c)
        EXPECT_EQ(at(out.tensor, c * kSide * kSide + i),
                  static_cast<float>(image.rgb[static_cast<size_t>(i * 3 + c)]) / scale)
            << name_of(protocol);
  }
}

TEST(InceptionInputTest, EachProtocolHasItsScale) {
  const Image black{1, 1, {0, 0, 0}}, white{5, 2, std::vector<uint8_t>(30, 255)};
  const OwnedTensor out({}, DType::f32, {3, kSide, kSide});
  const auto value = [&](const Image& image, Protocol protocol, bool unit) {
    inception_input(image, protocol, unit, out.tensor);
    for (const int64_t i : {int64_t{0}, kSide * kSide, 3 * kSide * kSide - 1})
      EXPECT_EQ(at(out.tensor, i), at(out.tensor, 77));
    return at(out.tensor, 77);
  };
  for (const Protocol protocol : {Protocol::tf1, Protocol::clean}) {
    EXPECT_EQ(value(black, protocol, false), -1);
    EXPECT_EQ(value(white, protocol, false), 127.0 / 128);
  }
  EXPECT_EQ(value(black, Protocol::pytorch, false), -1);
  EXPECT_EQ(value(white, Protocol::pytorch, false), 1);
  for (const Protocol protocol : {Protocol::tf1, Protocol::pytorch, Protocol::clean}) {
    EXPECT_EQ(value(black, protocol, true), 0);
    EXPECT_EQ(value(white, protocol, true), 1);
  }
}

TEST(InceptionInputTest, RefusesWhatItCannotFill) {
  const Image image = test_image(4, 4, 1);
  const OwnedTensor small({}, DType::f32, {3, 4, 4}), out({}, DType::f32, {3, kSide, kSide});
  EXPECT_EQ(error_of([&] { resize_for_inception(image, Protocol::tf1, small.tensor); }),
            "resize_for_inception: out is [3, 4, 4], wanted [3, 299, 299]");
  EXPECT_EQ(error_of([&] { resize_for_inception(Image{}, Protocol::tf1, out.tensor); }),
            "resize_for_inception: an image of 0 x 0 pixels");
}

}  // namespace
}  // namespace uvic
