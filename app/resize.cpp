#include "app/resize.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>
#include <string>

#include "kernels/core/error.h"

namespace uvic {
namespace {

constexpr int kBits = 22;  // of the fixed-point coefficients: 32 - 8 (pixel) - 2 (a sum of taps may overshoot)

double half_width(Filter filter) {
  switch (filter) {
    case Filter::box: return 0.5;
    case Filter::bilinear: return 1;
    case Filter::bicubic: return 2;
    case Filter::lanczos: return 3;
  }
  return 0;
}

double sinc(double x) { return x == 0 ? 1 : std::sin(x * std::numbers::pi) / (x * std::numbers::pi); }

double kernel(Filter filter, double x) {
  const double r = std::abs(x);
  switch (filter) {
    case Filter::box: return x > -0.5 && x <= 0.5 ? 1 : 0;
    case Filter::bilinear: return r < 1 ? 1 - r : 0;
    case Filter::bicubic: {  // Keys' cubic with a = -0.5, in Horner's form as Pillow has it
      constexpr double a = -0.5;
      if (r < 1) return ((a + 2) * r - (a + 3)) * r * r + 1;
      return r < 2 ? (((r - 5) * r + 8) * r - 4) * a : 0;
    }
    case Filter::lanczos: return x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0;
  }
  return 0;
}

// Pillow rounds by adding a half and cutting off, which differs from lround below zero and just under a half.
int32_t truncate(double v) { return static_cast<int32_t>(v); }

// For each output position the first input position and the weights from there on.
struct Taps {
  int width = 0;                // most weights of any output
  std::vector<int> first;       // [out]
  std::vector<int> count;       // [out]
  std::vector<int32_t> weight;  // [out, width]
};

Taps make_taps(int in, int out, Filter filter) {
  const double ratio = static_cast<double>(in) / out, scale = std::max(ratio, 1.0),
               support = half_width(filter) * scale;
  Taps taps;
  taps.width = static_cast<int>(std::ceil(support)) * 2 + 1;
  taps.first.resize(static_cast<size_t>(out));
  taps.count.resize(static_cast<size_t>(out));
  taps.weight.resize(static_cast<size_t>(out) * static_cast<size_t>(taps.width));
  std::vector<double> w(static_cast<size_t>(taps.width));
  for (int i = 0; i < out; ++i) {
    const double center = (i + 0.5) * ratio;
    const int first = std::max(0, truncate(center - support + 0.5));
    const int count = std::min(in, truncate(center + support + 0.5)) - first;
    double sum = 0;
    for (int j = 0; j < count; ++j) {
      // Pillow multiplies by the reciprocal; a division rounds differently and shows in the last bit of some pixels.
      const double v = kernel(filter, (j + first - center + 0.5) * (1.0 / scale));
      w[static_cast<size_t>(j)] = v;
      sum += v;
    }
    int32_t* weight = &taps.weight[static_cast<size_t>(i) * static_cast<size_t>(taps.width)];
    for (int j = 0; j < count; ++j) {
      const double v = (sum != 0 ? w[static_cast<size_t>(j)] / sum : w[static_cast<size_t>(j)]) * (1 << kBits);
      weight[j] = truncate(v < 0 ? v - 0.5 : v + 0.5);
    }
    taps.first[static_cast<size_t>(i)] = first;
    taps.count[static_cast<size_t>(i)] = count;
  }
  return taps;
}

uint8_t round_clip(int32_t sum) { return static_cast<uint8_t>(std::clamp(sum >> kBits, 0, 255)); }

Image resize_rows(const Image& in, int width, Filter filter) {
  const Taps taps = make_taps(in.width, width, filter);
  Image out{in.height, width, std::vector<uint8_t>(static_cast<size_t>(in.height) * static_cast<size_t>(width) * 3)};
  uint8_t* to = out.rgb.data();
  for (int y = 0; y < in.height; ++y) {
    const uint8_t* row = &in.rgb[static_cast<size_t>(y) * static_cast<size_t>(in.width) * 3];
    for (int x = 0; x < width; ++x, to += 3) {
      const size_t i = static_cast<size_t>(x);
      const int32_t* w = &taps.weight[i * static_cast<size_t>(taps.width)];
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
  const size_t stride = static_cast<size_t>(in.width) * 3;
  Image out{height, in.width, std::vector<uint8_t>(static_cast<size_t>(height) * stride)};
  std::vector<int32_t> sums(stride);
  for (size_t y = 0; y < static_cast<size_t>(height); ++y) {
    std::fill(sums.begin(), sums.end(), 1 << (kBits - 1));
    for (int j = 0; j < taps.count[y]; ++j) {  // row by row, so that the inner loop is one the compiler vectorises
      const int32_t w = taps.weight[y * static_cast<size_t>(taps.width) + static_cast<size_t>(j)];
      const uint8_t* row = &in.rgb[static_cast<size_t>(taps.first[y] + j) * stride];
      for (size_t x = 0; x < stride; ++x) sums[x] += w * row[x];
    }
    for (size_t x = 0; x < stride; ++x) out.rgb[y * stride + x] = round_clip(sums[x]);
  }
  return out;
}

// Python's round(): a half goes to the even neighbour, as nearbyint does in the default rounding mode.
int round_half_even(double x) { return static_cast<int>(std::nearbyint(x)); }

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

Image resize_short_side(const Image& image, int size) {
  Image x = image;
  while (std::min(x.width, x.height) >= 2 * size) x = resize(x, x.height / 2, x.width / 2, Filter::box);
  const double scale = static_cast<double>(size) / std::min(x.width, x.height);
  UVIC_CHECK(scale * x.height * scale * x.width < kMaxPixels, "an image of ", image.width, " x ", image.height,
             " pixels is too narrow to be enlarged to a short side of ", size);
  return resize(x, round_half_even(x.height * scale), round_half_even(x.width * scale), Filter::bicubic);
}

Image center_crop_arr(const Image& image, int size) {
  if (image.height == size && image.width == size) return image;
  const Image x = resize_short_side(image, size);
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
  const Image x = resize_short_side(image, short_side);
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
