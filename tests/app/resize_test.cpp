#include "app/resize.h"

#include "kernels/core/philox.h"

#include "tests/app/image_fixtures.h"

namespace uvic {
namespace {

using namespace test;

TEST(CropTest, GoldenCropsMatchExactly) {
  const auto dir = reference_dir("eval") / "resize";
  const auto images = golden_images(dir / "crop.safetensors");
  const nlohmann::json cases = golden_json(dir / "crop.json");
  ASSERT_FALSE(cases.empty());
  for (const auto& c : cases) {
    const std::string op = c["op"], name = c["out"];
    const int size = c["size"];
    const Image& source = images.at(c["src"]);
    ASSERT_TRUE(op == "center_crop_arr" || op == "coco_center_crop" || op == "celeba") << op;
    const Image got = op == "center_crop_arr"    ? center_crop_arr(source, size)
                      : op == "coco_center_crop" ? coco_center_crop(source, size)
                                                 : celeba_crop(source, size);
    EXPECT_EQ(got, images.at(name)) << name;
  }
}

TEST(ResizeTest, KeepsConstantsAndSizes) {
  Image flat{7, 11, std::vector<uint8_t>(7 * 11 * 3, 201)};
  for (const Filter filter : {Filter::box, Filter::bilinear, Filter::bicubic, Filter::lanczos})
    for (const auto& [height, width] : std::vector<std::pair<int, int>>{{1, 1}, {7, 11}, {3, 40}, {29, 2}, {14, 22}}) {
      const Image out = resize(flat, height, width, filter);
      EXPECT_EQ(out, (Image{height, width, std::vector<uint8_t>(static_cast<size_t>(height * width * 3), 201)}));
    }
  EXPECT_THROW(resize(flat, 0, 4, Filter::box), Error);
}

TEST(ResizeTest, BoxHalvingAveragesFourPixels) {
  const Image image = test_image(6, 8, 5), half = resize(image, 3, 4, Filter::box);
  const auto at = [](const Image& i, int y, int x, int c) {
    return int{i.rgb[static_cast<size_t>((y * i.width + x) * 3 + c)]};
  };
  for (int y = 0; y < 3; ++y)
    for (int x = 0; x < 4; ++x)
      for (int c = 0; c < 3; ++c) {  // rounded half up after each pass
        const int top = (at(image, 2 * y, 2 * x, c) + at(image, 2 * y, 2 * x + 1, c) + 1) / 2;
        const int bottom = (at(image, 2 * y + 1, 2 * x, c) + at(image, 2 * y + 1, 2 * x + 1, c) + 1) / 2;
        EXPECT_EQ(at(half, y, x, c), (top + bottom + 1) / 2);
      }
}

TEST(CropTest, RandomCropStaysInsideAtItsExtremes) {
  const float last = uniform(~0u);  // the largest number below 1 that random streams give
  for (const auto& [height, width] : std::vector<std::pair<int, int>>{{32, 32}, {47, 91}, {300, 65}}) {
    const Image image = test_image(height, width, 9);
    for (const float scale : {0.0f, 0.5f, last})
      for (const float row : {0.0f, last})
        for (const float column : {0.0f, last}) {
          const Image out = random_crop_arr(image, 32, scale, row, column);
          EXPECT_EQ(out.height, 32);
          EXPECT_EQ(out.width, 32);
        }
  }
  const Image image = test_image(32, 32, 9);
  EXPECT_EQ(random_crop_arr(image, 32, 0, 0, 0), image);  // at the smallest scale the whole image remains
  EXPECT_NE(random_crop_arr(image, 32, last, 0, 0), random_crop_arr(image, 32, last, last, last));
}

TEST(CropTest, AnImageOfAbsurdShapeIsRefusedNotEnlarged) {
  const Image line{1, 60000, std::vector<uint8_t>(180000)};
  EXPECT_NE(error_of([&] { center_crop_arr(line, 256); }).find("60000 x 1 pixels is too narrow"), std::string::npos);
  EXPECT_EQ(center_crop_arr(line, 16).width, 16);
}

TEST(CropTest, FlipTwiceIsNothing) {
  const Image image = test_image(5, 6, 4), flipped = flip_horizontally(image);
  EXPECT_NE(flipped, image);
  EXPECT_EQ(flip_horizontally(flipped), image);
  EXPECT_EQ(crop(flipped, 2, 0, 1, 1), crop(image, 2, 5, 1, 1));
  EXPECT_THROW(crop(image, 1, 0, 5, 6), Error);
}

}  // namespace
}  // namespace uvic
