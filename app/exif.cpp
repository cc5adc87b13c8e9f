#include "app/exif.h"

#include <cstring>
#include <string_view>
#include <utility>

namespace uvic {
namespace {

using Bytes = std::span<const uint8_t>;

// Numbers of either byte order; zero beyond the end, so that a hostile offset leads nowhere.
uint32_t number(Bytes b, size_t at, size_t count, bool big) {
  uint32_t v = 0;
  if (at > b.size() || count > b.size() - at) return 0;
  for (size_t i = 0; i < count; ++i) v = v << 8 | b[at + (big ? i : count - 1 - i)];
  return v;
}

bool begins(Bytes b, std::string_view text) {
  return b.size() >= text.size() && std::memcmp(b.data(), text.data(), text.size()) == 0;
}

// From `at`, at most `size` bytes.
Bytes part(Bytes b, size_t at, size_t size) {
  return at >= b.size() ? Bytes{} : b.subspan(at, std::min(size, b.size() - at));
}

constexpr std::string_view kPrefix{"Exif\0\0", 6};

Bytes find_in_jpeg(Bytes b) {
  for (size_t at = 2; at + 4 <= b.size() && b[at] == 0xff;) {
    const int marker = b[at + 1];
    if (marker == 0xda) break;  // pixels follow
    if (marker == 0xff) {       // fill byte
      ++at;
      continue;
    }
    const Bytes segment = part(b, at + 4, number(b, at + 2, 2, true) - 2);
    if (marker == 0xe1 && begins(segment, kPrefix)) return segment;
    at += 2 + number(b, at + 2, 2, true);
  }
  return {};
}

Bytes find_in_png(Bytes b) {
  for (size_t at = 8; at + 12 <= b.size();) {
    const size_t length = number(b, at, 4, true);
    if (begins(part(b, at + 4, 4), "eXIf")) return part(b, at + 8, length);
    at += 12 + length;
  }
  return {};
}

Bytes find_in_webp(Bytes b) {
  for (size_t at = 12; at + 8 <= b.size();) {
    const size_t length = number(b, at + 4, 4, false);
    if (begins(part(b, at, 4), "EXIF")) return part(b, at + 8, length);
    at += 8 + length + length % 2;
  }
  return {};
}

}  // namespace

int exif_orientation(std::span<const uint8_t> file, ImageFormat format) {
  Bytes b = format == ImageFormat::jpeg   ? find_in_jpeg(file)
            : format == ImageFormat::png  ? find_in_png(file)
            : format == ImageFormat::webp ? find_in_webp(file)
                                          : Bytes{};
  if (begins(b, kPrefix)) b = b.subspan(kPrefix.size());  // always in JPEG, often in WebP
  const bool big = begins(b, "MM");
  if (!big && !begins(b, "II")) return 1;
  const size_t directory = number(b, 4, 4, big), count = number(b, directory, 2, big);
  for (size_t i = 0; i < count; ++i) {
    constexpr size_t kEntry = 12, kOrientation = 0x0112, kShort = 3;
    const size_t at = directory + 2 + i * kEntry;
    if (number(b, at, 2, big) != kOrientation) continue;
    const uint32_t v = number(b, at + 8, 2, big);
    return number(b, at + 2, 2, big) == kShort && v >= 1 && v <= 8 ? static_cast<int>(v) : 1;
  }
  return 1;
}

Image turn_upright(Image image, int orientation) {
  if (orientation <= 1 || orientation > 8) return image;
  const bool swap = orientation >= 5;
  const bool from_bottom = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  const bool from_right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  Image out{swap ? image.width : image.height, swap ? image.height : image.width, {}};
  out.rgb.resize(image.rgb.size());
  uint8_t* to = out.rgb.data();
  for (int y = 0; y < out.height; ++y)
    for (int x = 0; x < out.width; ++x, to += 3) {
      int row = swap ? x : y, column = swap ? y : x;
      if (from_bottom) row = image.height - 1 - row;
      if (from_right) column = image.width - 1 - column;
      const size_t pixel = static_cast<size_t>(row) * static_cast<size_t>(image.width) + static_cast<size_t>(column);
      std::memcpy(to, &image.rgb[pixel * 3], 3);
    }
  return out;
}

}  // namespace uvic
