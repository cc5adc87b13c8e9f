#include "app/resize.h"

#include <cmath>

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

// Pillow's formulas one channel at a time, for the sizes at which the passes split their work into rows and lanes.
double cubic(double x) {
  const double r = std::abs(x);
  if (r < 1) return (1.5 * r - 2.5) * r * r + 1;
  return r < 2 ? (((r - 5) * r + 8) * r - 4) * -0.5 : 0;
}
Image plain_rows(const Image& in, int width, bool box) {
  Image out{in.height, width, std::vector<uint8_t>(static_cast<size_t>(in.height * width * 3))};
  const double ratio = static_cast<double>(in.width) / width, scale = std::max(ratio, 1.0),
               support = (box ? 0.5 : 2) * scale;
  for (int i = 0; i < width; ++i) {
    const double center = (i + 0.5) * ratio;
    const int first = std::max(0, static_cast<int>(center - support + 0.5));
    const int end = std::min(in.width, static_cast<int>(center + support + 0.5));
    std::vector<double> w;
    double sum = 0;
    for (int j = first; j < end; ++j) {
      const double x = (j - center + 0.5) * (1.0 / scale);
      w.push_back(box ? (x > -0.5 && x <= 0.5 ? 1 : 0) : cubic(x));
      sum += w.back();
    }
    for (int y = 0; y < in.height; ++y)
      for (int c = 0; c < 3; ++c) {
        int64_t value = 1 << 21;
        for (int j = first; j < end; ++j) {
          const double v = w[static_cast<size_t>(j - first)] / sum * (1 << 22);
          value +=
              static_cast<int64_t>(v < 0 ? v - 0.5 : v + 0.5) * in.rgb[static_cast<size_t>((y * in.width + j) * 3 + c)];
        }
        out.rgb[static_cast<size_t>((y * width + i) * 3 + c)] =
            static_cast<uint8_t>(std::clamp<int64_t>(value >> 22, 0, 255));
      }
  }
  return out;
}
Image turned(const Image& in) {
  Image out{in.width, in.height, {}};
  for (int y = 0; y < out.height; ++y)
    for (int x = 0; x < out.width; ++x)
      for (int c = 0; c < 3; ++c) out.rgb.push_back(in.rgb[static_cast<size_t>((x * in.width + y) * 3 + c)]);
  return out;
}

TEST(ResizeTest, EverySizeAgreesWithThePlainFormulas) {
  uint32_t sample = 0;
  for (const int height : {1, 2, 7, 8, 9, 16, 17, 25})
    for (const int width : {1, 2, 5, 16, 33})
      for (const auto& [to_height, to_width] : std::vector<std::pair<int, int>>{{height, (width + 1) / 2},
                                                                                {(height + 1) / 2, (width + 1) / 2},
                                                                                {height + 3, width * 2},
                                                                                {3, 7},
                                                                                {1, 1}}) {
        Image image{height, width, {}};
        for (int i = 0; i < height * width * 3; ++i)  // extremes, so that sums of taps overshoot
          image.rgb.push_back(
              static_cast<uint8_t>(philox({1, 0, Stream::initial_noise, 0}, sample++).v[0] & 1 ? 255 : 0));
        for (const bool box : {true, false}) {
          const Image rows = to_width == width ? image : plain_rows(image, to_width, box);
          const Image want = to_height == height ? rows : turned(plain_rows(turned(rows), to_height, box));
          EXPECT_EQ(resize(image, to_height, to_width, box ? Filter::box : Filter::bicubic), want)
              << width << " x " << height << " to " << to_width << " x " << to_height;
        }
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
