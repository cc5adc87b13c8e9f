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

// One channel of a pixel in each of eight rows.
constexpr size_t kRows = 8;
using Int8 = int32_t __attribute__((vector_size(32)));

// A pixel of each row, and the byte behind it.
Int8 load_pixels(const uint8_t* from, size_t stride) {
  const auto word = [=](size_t row) {
    int32_t w;
    std::memcpy(&w, from + row * stride, sizeof w);
    return w;
  };
  return Int8{word(0), word(1), word(2), word(3), word(4), word(5), word(6), word(7)};
}

Int8 round_clip(Int8 sum) {
  const Int8 v = sum >> kBits;
  return v < 0 ? Int8{} : v > 255 ? Int8{} + 255 : v;
}

// Eight rows at once, so that a weight is loaded once for all of them: 2.5 times as fast as row by row. Reads a byte
// behind each row.
void resize_eight_rows(const uint8_t* in, size_t in_stride, const Taps& taps, size_t width, uint8_t* out) {
  for (size_t x = 0; x < width; ++x) {
    const int32_t* w = &taps.weight[x * static_cast<size_t>(taps.width)];
    const uint8_t* from = in + taps.first[x] * 3;
    Int8 r = Int8{} + (1 << (kBits - 1)), g = r, b = r;
    for (int j = 0; j < taps.count[x]; ++j, from += 3) {
      const Int8 pixels = load_pixels(from, in_stride);
      r += (pixels & 255) * w[j];
      g += (pixels >> 8 & 255) * w[j];
      b += (pixels >> 16 & 255) * w[j];
    }
    const Int8 packed = round_clip(r) | round_clip(g) << 8 | round_clip(b) << 16;
    const size_t bytes = x + 1 < width ? 4 : 3;  // the fourth is overwritten by the next pixel
    for (size_t row = 0; row < kRows; ++row) {
      const int32_t pixel = packed[row];
      uint8_t* to = out + (row * width + x) * 3;
      if (bytes == 4)
        std::memcpy(to, &pixel, 4);
      else
        std::memcpy(to, &pixel, 3);
    }
  }
}

// A box of two: its weights are exactly a half, so that the fixed-point sum is (a + b + 1) / 2, and halving, most of
// the work of cropping a photo, is 5 times as fast.
bool halves(int in, int out, Filter filter) { return filter == Filter::box && in == 2 * out; }

void average(const uint8_t* a, const uint8_t* b, size_t count, uint8_t* out) {
  for (size_t i = 0; i < count; ++i) out[i] = static_cast<uint8_t>((a[i] + b[i] + 1) >> 1);
}

Image halve_rows(const Image& in) {
  const size_t stride = static_cast<size_t>(in.width) * 3, width = static_cast<size_t>(in.width) / 2;
  Image out{in.height, in.width / 2, std::vector<uint8_t>(static_cast<size_t>(in.height) * width * 3)};
  std::vector<uint8_t> pairs(stride + 1);  // of each pixel with the next; every other one is wanted
  uint8_t* to = out.rgb.data();
  for (size_t y = 0; y < static_cast<size_t>(in.height); ++y) {
    const uint8_t* row = &in.rgb[y * stride];
    average(row, row + 3, stride - 3, pairs.data());
    for (size_t x = 0; x + 1 < width; ++x, to += 3) std::memcpy(to, &pairs[x * 6], 4);  // the fourth is overwritten
    std::memcpy(to, &pairs[(width - 1) * 6], 3);
    to += 3;
  }
  return out;
}

Image halve_columns(const Image& in) {
  const size_t stride = static_cast<size_t>(in.width) * 3, height = static_cast<size_t>(in.height) / 2;
  Image out{in.height / 2, in.width, std::vector<uint8_t>(height * stride)};
  for (size_t y = 0; y < height; ++y)
    average(&in.rgb[2 * y * stride], &in.rgb[(2 * y + 1) * stride], stride, &out.rgb[y * stride]);
  return out;
}

Image resize_rows(const Image& in, int width, Filter filter) {
  if (halves(in.width, width, filter)) return halve_rows(in);
  const Taps taps = make_taps(in.width, width, filter);
  const size_t columns = static_cast<size_t>(width), in_stride = static_cast<size_t>(in.width) * 3;
  const size_t height = static_cast<size_t>(in.height);
  Image out{in.height, width, std::vector<uint8_t>(height * columns * 3)};
  size_t y = 0;
  for (; y + kRows < height; y += kRows)  // without the last row, which has no byte behind it
    resize_eight_rows(&in.rgb[y * in_stride], in_stride, taps, columns, &out.rgb[y * columns * 3]);
  if (y == height) return out;
  std::vector<uint8_t> rows(kRows * in_stride + 1), resized(kRows * columns * 3);  // the rest, with room around it
  std::memcpy(rows.data(), &in.rgb[y * in_stride], (height - y) * in_stride);
  resize_eight_rows(rows.data(), in_stride, taps, columns, resized.data());
  std::memcpy(&out.rgb[y * columns * 3], resized.data(), (height - y) * columns * 3);
  return out;
}

Image resize_columns(const Image& in, int height, Filter filter) {
  if (halves(in.height, height, filter)) return halve_columns(in);
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

}  // namespace

Image resize(const Image& image, int height, int width, Filter filter) {
  UVIC_CHECK(image.height > 0 && image.width > 0 && height > 0 && width > 0, "resize: from ", image.width, " x ",
             image.height, " to ", width, " x ", height, " pixels");
  if (image.width == width) return image.height == height ? image : resize_columns(image, height, filter);
  const Image rows = resize_rows(image, width, filter);
  return image.height == height ? rows : resize_columns(rows, height, filter);
}

}  // namespace uvic
