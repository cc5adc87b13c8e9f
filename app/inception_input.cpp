#include "app/inception_input.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "app/resample.h"
#include "kernels/core/error.h"
#include "model/inception.h"

namespace uvic {
namespace {

constexpr int kSide = static_cast<int>(Inception::kSide);
using Row = std::array<float, 3 * static_cast<size_t>(kSide)>;  // [3, 299]

void store_row(const Row& row, int y, float* out) {
  for (int c = 0; c < 3; ++c) std::memcpy(out + (c * kSide + y) * kSide, row.data() + c * kSide, kSide * sizeof(float));
}

// Between which two inputs an output lies, and how near to the second.
struct Position {
  int low, high;
  float weight;
};
using Positions = std::array<Position, static_cast<size_t>(kSide)>;

// TensorFlow takes the position in float; PyTorch the ratio of sizes in float, but the position in double.
Positions positions(int in, Protocol protocol) {
  Positions all;
  const float ratio = static_cast<float>(in) / static_cast<float>(kSide);
  for (int i = 0; i < kSide; ++i) {
    const double at = protocol == Protocol::tf1 ? static_cast<double>(static_cast<float>(i) * ratio)
                                                : std::max(0.0, static_cast<double>(ratio) * (i + 0.5) - 0.5);
    const int low = std::min(static_cast<int>(at), in - 1);
    all[static_cast<size_t>(i)] = {low, std::min(low + 1, in - 1), static_cast<float>(at - low)};
  }
  return all;
}

// TensorFlow's arithmetic and PyTorch's, which round differently.
float between(Protocol protocol, float a, float b, float weight) {
  return protocol == Protocol::tf1 ? a + (b - a) * weight : (1.0f - weight) * a + weight * b;
}

// Along rows first. When shrinking, few rows of the image count, so each is resized when it is first wanted; while it
// is, so may be the one before.
void bilinear(const Image& image, Protocol protocol, float* out) {
  const Positions columns = positions(image.width, protocol), rows = positions(image.height, protocol);
  std::array<float, 256> value;
  for (size_t v = 0; v < value.size(); ++v)
    value[v] = protocol == Protocol::pytorch ? static_cast<float>(v) / 255.0f : static_cast<float>(v);
  Row kept[2], mixed;
  int kept_row[2] = {-1, -1};
  const auto resized = [&](int y) -> const Row& {
    Row& row = kept[y % 2];
    if (kept_row[y % 2] == y) return row;
    kept_row[y % 2] = y;
    const uint8_t* pixels = &image.rgb[static_cast<size_t>(y) * static_cast<size_t>(image.width) * 3];
    for (size_t x = 0; x < columns.size(); ++x) {
      const auto [low, high, weight] = columns[x];
      for (size_t c = 0; c < 3; ++c)
        row[c * columns.size() + x] = between(protocol, value[pixels[static_cast<size_t>(low) * 3 + c]],
                                              value[pixels[static_cast<size_t>(high) * 3 + c]], weight);
    }
    return row;
  };
  for (int y = 0; y < kSide; ++y) {
    const auto [low, high, weight] = rows[static_cast<size_t>(y)];
    const Row &top = resized(low), &bottom = resized(high);
    for (size_t i = 0; i < mixed.size(); ++i) mixed[i] = between(protocol, top[i], bottom[i], weight);
    store_row(mixed, y, out);
  }
}

// Pillow's resampling of float images: weights and sums in double, floats between the passes. A pass that would change
// nothing is left out. clean-fid clips what the cubic overshoots.
void bicubic(const Image& image, float* out) {
  const size_t height = static_cast<size_t>(image.height), width = static_cast<size_t>(image.width);
  std::vector<Row> rows(height);
  const Taps across = make_taps(image.width, kSide, Filter::bicubic);
  for (size_t y = 0; y < height; ++y)
    for (size_t x = 0; x < static_cast<size_t>(kSide); ++x)
      for (size_t c = 0; c < 3; ++c) {
        const size_t first = image.width == kSide ? x : static_cast<size_t>(across.first[x]);
        const uint8_t* from = &image.rgb[(y * width + first) * 3 + c];
        double sum = image.width == kSide ? from[0] : 0.0;
        if (image.width != kSide)
          for (size_t j = 0; j < static_cast<size_t>(across.count[x]); ++j)
            sum += static_cast<double>(from[j * 3]) * across.weight[x * static_cast<size_t>(across.width) + j];
        rows[y][c * static_cast<size_t>(kSide) + x] = static_cast<float>(sum);
      }
  const Taps down = make_taps(image.height, kSide, Filter::bicubic);
  std::vector<double> sums(rows[0].size());
  for (int y = 0; y < kSide; ++y) {
    Row mixed;
    if (image.height == kSide) {
      mixed = rows[static_cast<size_t>(y)];
    } else {
      const size_t i = static_cast<size_t>(y);
      std::fill(sums.begin(), sums.end(), 0.0);
      for (size_t j = 0; j < static_cast<size_t>(down.count[i]); ++j) {
        const double weight = down.weight[i * static_cast<size_t>(down.width) + j];
        const Row& from = rows[static_cast<size_t>(down.first[i]) + j];
        for (size_t x = 0; x < sums.size(); ++x) sums[x] += static_cast<double>(from[x]) * weight;
      }
      for (size_t x = 0; x < sums.size(); ++x) mixed[x] = static_cast<float>(sums[x]);
    }
    for (float& v : mixed) v = std::clamp(v, 0.0f, 255.0f);
    store_row(mixed, y, out);
  }
}

}  // namespace

const char* name_of(Protocol protocol) {
  constexpr const char* kNames[] = {"tf1", "pytorch", "clean"};
  return kNames[static_cast<size_t>(protocol)];
}

void resize_for_inception(const Image& image, Protocol protocol, Tensor out) {
  UVIC_CHECK(image.height > 0 && image.width > 0, "resize_for_inception: an image of ", image.width, " x ",
             image.height, " pixels");
  UVIC_CHECK(out && out.shape() == Shape({3, kSide, kSide}), "resize_for_inception: out is ", out.shape(),
             ", wanted [3, ", kSide, ", ", kSide, "]");
  float* to = out.data<float>();
  protocol == Protocol::clean ? bicubic(image, to) : bilinear(image, protocol, to);
}

void inception_input(const Image& image, Protocol protocol, bool unit, Tensor out) {
  resize_for_inception(image, protocol, out);
  float* v = out.data<float>();
  const int64_t n = out.numel();
  if (protocol == Protocol::pytorch) {
    if (unit) return;
    for (int64_t i = 0; i < n; ++i) v[i] = 2.0f * v[i] - 1.0f;
  } else {
    const float middle = unit ? 0.0f : 128.0f, scale = unit ? 255.0f : 128.0f;
    for (int64_t i = 0; i < n; ++i) v[i] = (v[i] - middle) / scale;
  }
}

}  // namespace uvic
