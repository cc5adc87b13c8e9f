#include "app/resize.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "app/resample.h"
#include "kernels/core/error.h"

namespace uvic {
namespace {

constexpr int kBits = 22;  // of the fixed-point coefficients: 32 - 8 (pixel) - 2 (a sum of taps may overshoot)

// Pillow rounds by adding a half and cutting off, which differs from lround below zero and just under a half.
int32_t truncate(double v) { return static_cast<int32_t>(v); }

// Pillow's weights for 8-bit images, in fixed point.
std::vector<int32_t> fixed_point(const Taps& taps) {
  std::vector<int32_t> weight(taps.weight.size());
  for (size_t i = 0; i < weight.size(); ++i) {
    const double v = taps.weight[i] * (1 << kBits);
    weight[i] = truncate(v < 0 ? v - 0.5 : v + 0.5);
  }
  return weight;
}

uint8_t round_clip(int32_t sum) { return static_cast<uint8_t>(std::clamp(sum >> kBits, 0, 255)); }

Image resize_rows(const Image& in, int width, Filter filter) {
  const Taps taps = make_taps(in.width, width, filter);
  const std::vector<int32_t> weight = fixed_point(taps);
  Image out{in.height, width, std::vector<uint8_t>(static_cast<size_t>(in.height) * static_cast<size_t>(width) * 3)};
  uint8_t* to = out.rgb.data();
  for (int y = 0; y < in.height; ++y) {
    const uint8_t* row = &in.rgb[static_cast<size_t>(y) * static_cast<size_t>(in.width) * 3];
    for (int x = 0; x < width; ++x, to += 3) {
      const size_t i = static_cast<size_t>(x);
      const int32_t* w = &weight[i * static_cast<size_t>(taps.width)];
      const uint8_t* from = row + taps.first[i] * 3;
      int32_t r = 1 << (kBits - 1), g = r, b = r;
      for (int j = 0; j < taps.count[i]; ++j, from += 3) {
        r += w[j] * from[0];
        g += w[j] * from[1];
        b += w[j] * from[2];
      }
      to[0] = round_clip(r);
      to[1] = round_clip(g);
      to[2] = round_clip(b);
    }
  }
  return out;
}

Image resize_columns(const Image& in, int height, Filter filter) {
  const Taps taps = make_taps(in.height, height, filter);
  const std::vector<int32_t> weight = fixed_point(taps);
  const size_t stride = static_cast<size_t>(in.width) * 3;
  Image out{height, in.width, std::vector<uint8_t>(static_cast<size_t>(height) * stride)};
  std::vector<int32_t> sums(stride);
  for (size_t y = 0; y < static_cast<size_t>(height); ++y) {
    std::fill(sums.begin(), sums.end(), 1 << (kBits - 1));
    for (int j = 0; j < taps.count[y]; ++j) {  // row by row, so that the inner loop is one the compiler vectorises
      const int32_t w = weight[y * static_cast<size_t>(taps.width) + static_cast<size_t>(j)];
      const uint8_t* row = &in.rgb[static_cast<size_t>(taps.first[y] + j) * stride];
      for (size_t x = 0; x < stride; ++x) sums[x] += w * row[x];
    }
    for (size_t x = 0; x < stride; ++x) out.rgb[y * stride + x] = round_clip(sums[x]);
  }
  return out;
}

// Python's round(): a half goes to the even neighbour, as nearbyint does in the default rounding mode.
int round_half_even(double x) { return static_cast<int>(std::nearbyint(x)); }

// What guided-diffusion's crops share: halve with a box while both sides stay at least twice as large as wanted, then
// bicubic until the short side is short.
Image shrink_to(const Image& image, int short_side) {
  Image x = image;
  while (std::min(x.width, x.height) >= 2 * short_side) x = resize(x, x.height / 2, x.width / 2, Filter::box);
  const double scale = static_cast<double>(short_side) / std::min(x.width, x.height);
  UVIC_CHECK(scale * x.height * scale * x.width < kMaxPixels, "an image of ", image.width, " x ", image.height,
             " pixels is too narrow to be enlarged to a short side of ", short_side);
  return resize(x, round_half_even(x.height * scale), round_half_even(x.width * scale), Filter::bicubic);
}

}  // namespace

Image resize(const Image& image, int height, int width, Filter filter) {
  UVIC_CHECK(image.height > 0 && image.width > 0 && height > 0 && width > 0, "resize: from ", image.width, " x ",
             image.height, " to ", width, " x ", height, " pixels");
  if (image.width == width) return image.height == height ? image : resize_columns(image, height, filter);
  const Image rows = resize_rows(image, width, filter);
  return image.height == height ? rows : resize_columns(rows, height, filter);
}

Image crop(const Image& image, int top, int left, int height, int width) {
  UVIC_CHECK(
      top >= 0 && left >= 0 && height > 0 && width > 0 && height <= image.height - top && width <= image.width - left,
      "crop: ", width, " x ", height, " pixels at (", left, ", ", top, ") of an image of ", image.width, " x ",
      image.height);
  Image out{height, width, std::vector<uint8_t>(static_cast<size_t>(height) * static_cast<size_t>(width) * 3)};
  const size_t bytes = static_cast<size_t>(width) * 3;
  for (size_t y = 0; y < static_cast<size_t>(height); ++y)
    std::memcpy(
        &out.rgb[y * bytes],
        &image.rgb[((static_cast<size_t>(top) + y) * static_cast<size_t>(image.width) + static_cast<size_t>(left)) * 3],
        bytes);
  return out;
}

Image center_crop_arr(const Image& image, int size) {
  if (image.height == size && image.width == size) return image;
  const Image x = shrink_to(image, size);
  return crop(x, (x.height - size) / 2, (x.width - size) / 2, size, size);
}

Image coco_center_crop(const Image& image, int size) {
  const int c = std::min(image.height, image.width);
  return resize(crop(image, (image.height - c) / 2, (image.width - c) / 2, c, c), size, size, Filter::lanczos);
}

Image celeba_crop(const Image& image, int size) {
  UVIC_CHECK(image.height == 218 && image.width == 178,
             "celeba_crop: an aligned CelebA image has 178 x 218 pixels, got ", image.width, " x ", image.height);
  return resize(crop(image, 57, 25, 128, 128), size, size, Filter::bilinear);
}

Image random_crop_arr(const Image& image, int size, float scale, float row, float column) {
  const int last = static_cast<int>(std::ceil(size / 0.8));
  const int short_side = size + static_cast<int>(scale * static_cast<float>(last - size + 1));
  const Image x = shrink_to(image, short_side);
  const int top = static_cast<int>(row * static_cast<float>(x.height - size + 1));
  const int left = static_cast<int>(column * static_cast<float>(x.width - size + 1));
  return crop(x, top, left, size, size);
}

Image flip_horizontally(const Image& image) {
  Image out = image;
  for (int y = 0; y < image.height; ++y)
    for (int x = 0; x < image.width; ++x)
      std::memcpy(&out.rgb[(static_cast<size_t>(y) * static_cast<size_t>(image.width) +
                            static_cast<size_t>(image.width - 1 - x)) *
                           3],
                  &image.rgb[(static_cast<size_t>(y) * static_cast<size_t>(image.width) + static_cast<size_t>(x)) * 3],
                  3);
  return out;
}

}  // namespace uvic
