#include "app/image_io.h"

#include <algorithm>
#include <cctype>
#include <cstring>
#include <string_view>

#include "app/data/byte_file.h"
#include "kernels/core/error.h"

namespace uvic {
namespace {

bool starts_with(std::span<const uint8_t> bytes, std::string_view text, size_t at = 0) {
  return bytes.size() >= at + text.size() && std::memcmp(&bytes[at], text.data(), text.size()) == 0;
}

uint32_t little_endian(std::span<const uint8_t> b, size_t at, int count) {
  uint32_t v = 0;
  for (int i = 0; i < count; ++i) v |= uint32_t{b[at + static_cast<size_t>(i)]} << (8 * i);
  return v;
}

int64_t big_endian(std::span<const uint8_t> b, size_t at, int count) {
  int64_t v = 0;
  for (int i = 0; i < count; ++i) v = v << 8 | b[at + static_cast<size_t>(i)];
  return v;
}

// Walks the segments up to the frame header (SOF0 .. SOF15 without DHT, JPG and DAC).
ImageHeader probe_jpeg(std::span<const uint8_t> b, const std::string& name) {
  for (size_t at = 2; at + 4 <= b.size();) {
    UVIC_CHECK(b[at] == 0xff, name, ": damaged JPEG file: no marker at byte ", at);
    const int marker = b[at + 1];
    if (marker == 0xff) {  // fill byte
      ++at;
      continue;
    }
    if (marker == 0x01 || (marker >= 0xd0 && marker <= 0xd8)) {  // markers without a segment
      at += 2;
      continue;
    }
    const size_t length = static_cast<size_t>(big_endian(b, at + 2, 2));
    UVIC_CHECK(length >= 2, name, ": damaged JPEG file: a segment of length ", length);
    if (marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc) {
      UVIC_CHECK(at + 9 <= b.size() && length >= 8, name, ": truncated JPEG file");
      return {ImageFormat::jpeg, big_endian(b, at + 5, 2), big_endian(b, at + 7, 2)};
    }
    at += 2 + length;
  }
  fail(name, ": truncated JPEG file: no frame header within its ", b.size(), " bytes");
}

ImageHeader probe_webp(std::span<const uint8_t> b, const std::string& name) {
  UVIC_CHECK(b.size() >= 30, name, ": truncated WebP file");
  constexpr uint8_t kAnimated = 2;
  UVIC_CHECK(!starts_with(b, "VP8X", 12) || !(b[20] & kAnimated), name,
             ": an animated WebP image; save one of its frames as an image");
  if (starts_with(b, "VP8X", 12))
    return {ImageFormat::webp, 1 + int64_t{little_endian(b, 27, 3)}, 1 + int64_t{little_endian(b, 24, 3)}};
  if (starts_with(b, "VP8L", 12)) {
    const uint32_t v = little_endian(b, 21, 4);
    return {ImageFormat::webp, 1 + int64_t{(v >> 14) & 0x3fff}, 1 + int64_t{v & 0x3fff}};
  }
  UVIC_CHECK(starts_with(b, "VP8 ", 12), name, ": damaged WebP file: no VP8, VP8L or VP8X chunk");
  return {ImageFormat::webp, little_endian(b, 28, 2) & 0x3fff, little_endian(b, 26, 2) & 0x3fff};
}

ImageHeader probe_bmp(std::span<const uint8_t> b, const std::string& name) {
  UVIC_CHECK(b.size() >= 26, name, ": truncated BMP file");
  if (little_endian(b, 14, 4) == 12) return {ImageFormat::bmp, little_endian(b, 20, 2), little_endian(b, 18, 2)};
  const int64_t height = static_cast<int32_t>(little_endian(b, 22, 4));  // negative: rows from top to bottom
  return {ImageFormat::bmp, height < 0 ? -height : height, static_cast<int32_t>(little_endian(b, 18, 4))};
}

ImageHeader probe(std::span<const uint8_t> b, const std::string& name) {
  if (starts_with(b, "\x89PNG\r\n\x1a\n")) {
    UVIC_CHECK(b.size() >= 33 && starts_with(b, "IHDR", 12), name, ": truncated PNG file");
    return {ImageFormat::png, big_endian(b, 20, 4), big_endian(b, 16, 4)};
  }
  if (starts_with(b, "\xff\xd8\xff")) return probe_jpeg(b, name);
  if (starts_with(b, "RIFF") && starts_with(b, "WEBP", 8)) return probe_webp(b, name);
  if (starts_with(b, "BM")) return probe_bmp(b, name);
  return {};
}

}  // namespace

ImageHeader probe_image(std::span<const uint8_t> bytes, const std::string& name) {
  const ImageHeader header = probe(bytes, name);
  if (header.format == ImageFormat::unknown) return header;
  UVIC_CHECK(header.height > 0 && header.width > 0, name, ": its header says ", header.width, " x ", header.height,
             " pixels");
  UVIC_CHECK(header.height <= kMaxPixels / header.width, name, ": its header says ", header.width, " x ", header.height,
             " pixels; more than ", kMaxPixels, " are refused");
  return header;
}

bool has_image_extension(const std::filesystem::path& path) {
  std::string e = path.extension().string();
  std::transform(e.begin(), e.end(), e.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return e == ".jpg" || e == ".jpeg" || e == ".png" || e == ".webp" || e == ".bmp";
}

Image read_image(const std::filesystem::path& path, Orientation orientation) {
  return decode_image(read_bytes(path), path.string(), orientation);
}

std::vector<uint8_t> read_bytes(const std::filesystem::path& path, int64_t offset, int64_t size) {
  return ByteFile(path).read(offset, size);
}

}  // namespace uvic
