#include "app/png.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "app/image_io.h"
#include "kernels/core/error.h"

#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#define STBI_WRITE_NO_STDIO
#include <stb/stb_image_write.h>

namespace uvic {
namespace {

constexpr std::array<uint8_t, 8> kSignature{0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
constexpr std::string_view kKey = "parameters";

constexpr std::array<uint32_t, 256> kCrcTable = [] {
  std::array<uint32_t, 256> table{};
  for (uint32_t n = 0; n < 256; ++n) {
    uint32_t c = n;
    for (int bit = 0; bit < 8; ++bit) c = c & 1 ? 0xedb88320u ^ (c >> 1) : c >> 1;
    table[n] = c;
  }
  return table;
}();

uint32_t crc32(std::span<const uint8_t> bytes) {
  uint32_t c = ~0u;
  for (const uint8_t b : bytes) c = kCrcTable[(c ^ b) & 0xff] ^ (c >> 8);
  return ~c;
}

uint32_t big_endian(const uint8_t* p) {
  return uint32_t{p[0]} << 24 | uint32_t{p[1]} << 16 | uint32_t{p[2]} << 8 | p[3];
}

std::string big_endian_bytes(uint32_t v) {
  std::string out(4, '\0');
  for (size_t i = 0; i < 4; ++i) out[i] = static_cast<char>(v >> (24 - 8 * i));
  return out;
}

std::string text_chunk(const std::string& text) {
  const bool ascii = std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 128; });
  std::string body(ascii ? "tEXt" : "iTXt");
  body += kKey;
  body += '\0';
  if (!ascii) body.append(4, '\0');  // not compressed, method 0, no language, no translated key
  body += text;
  const uint32_t crc = crc32({reinterpret_cast<const uint8_t*>(body.data()), body.size()});
  return big_endian_bytes(static_cast<uint32_t>(body.size() - 4)) + body + big_endian_bytes(crc);
}

}  // namespace

void walk_png(std::span<const uint8_t> bytes, const std::string& name, bool strict,
              const std::function<void(std::string_view, std::span<const uint8_t>)>& visit) {
  UVIC_CHECK(bytes.size() >= kSignature.size() && std::equal(kSignature.begin(), kSignature.end(), bytes.begin()), name,
             ": not a PNG file");
  bool has_data = false;
  for (size_t at = kSignature.size(), index = 0;; ++index) {
    UVIC_CHECK(bytes.size() - at >= 12, name, ": truncated PNG file: no IEND chunk within its ", bytes.size(),
               " bytes");
    const size_t length = big_endian(&bytes[at]);
    const std::string_view type(reinterpret_cast<const char*>(&bytes[at + 4]), 4);
    UVIC_CHECK(length <= bytes.size() - at - 12, name, ": truncated PNG file: a chunk of ", length, " bytes at byte ",
               at, " of ", bytes.size());
    const std::span<const uint8_t> data = bytes.subspan(at + 8, length);
    const bool critical = (type[0] & 0x20) == 0;
    UVIC_CHECK(
        (!critical && !strict) || crc32(bytes.subspan(at + 4, length + 4)) == big_endian(&bytes[at + 8 + length]), name,
        ": damaged PNG file: wrong checksum of the chunk at byte ", at);
    UVIC_CHECK((index == 0) == (type == "IHDR") && (index > 0 || length == 13), name,
               ": damaged PNG file: no valid IHDR chunk at its start");
    if (visit) visit(type, data);
    has_data = has_data || type == "IDAT";
    if (type == "IEND") break;
    at += length + 12;
  }
  UVIC_CHECK(has_data, name, ": damaged PNG file: no IDAT chunk");
}

std::vector<uint8_t> encode_png(Tensor pixels, const std::string& parameters) {
  UVIC_CHECK(pixels.rank() == 3 && pixels.dim(2) == 3 && pixels.dtype() == DType::u8 && pixels.numel() > 0,
             "encode_png: pixels must be [h, w, 3] u8, got ", pixels.shape(), " ", pixels.dtype());
  const int height = static_cast<int>(pixels.dim(0)), width = static_cast<int>(pixels.dim(1));
  int size = 0;
  const std::unique_ptr<uint8_t, decltype(&std::free)> png(
      stbi_write_png_to_mem(pixels.data<uint8_t>(), width * 3, width, height, 3, &size), &std::free);
  UVIC_CHECK(png != nullptr, "encode_png: no memory for an image of ", pixels.shape());
  std::vector<uint8_t> out(png.get(), png.get() + size);
  if (!parameters.empty()) {
    const std::string chunk = text_chunk(parameters);
    out.insert(out.begin() + 8 + 25, chunk.begin(), chunk.end());  // after the signature and IHDR
  }
  return out;
}

void write_png(const std::filesystem::path& path, Tensor pixels, const std::string& parameters) {
  const std::vector<uint8_t> png = encode_png(pixels, parameters);
  const std::filesystem::path part = path.string() + ".tmp";
  const auto failed = [&](const char* what) {
    const std::string reason = std::strerror(errno);
    std::remove(part.c_str());
    fail(path.string(), ": cannot ", what, ": ", reason);
  };
  std::FILE* file = std::fopen(part.c_str(), "wb");
  if (!file) failed("write");
  const bool written = std::fwrite(png.data(), 1, png.size(), file) == png.size();
  const int error = errno;
  const bool closed = std::fclose(file) == 0;  // a full disk may show only here
  if (!written) errno = error;
  if (!written || !closed) failed("write");
  if (std::rename(part.c_str(), path.c_str()) != 0) failed("rename from .tmp");
}

std::optional<PngInfo> inspect_png(const std::filesystem::path& path) {
  if (!std::filesystem::is_regular_file(path)) return {};
  PngInfo info;
  try {
    walk_png(read_bytes(path), path.string(), true, [&](std::string_view type, std::span<const uint8_t> data) {
      const std::string_view text(reinterpret_cast<const char*>(data.data()), data.size());
      if (type == "IHDR") {
        info.width = big_endian(data.data());
        info.height = big_endian(&data[4]);
      }
      const size_t extra = type == "tEXt" ? 1 : type == "iTXt" ? 5 : 0;  // zero bytes after the key, see text_chunk
      if (extra > 0 && text.size() >= kKey.size() + extra && text.starts_with(kKey) &&
          text.find_first_not_of('\0', kKey.size()) >= kKey.size() + extra)
        info.parameters = text.substr(kKey.size() + extra);
    });
  } catch (const Error&) {
    return {};
  }
  return info;
}

Image make_grid(Tensor pixels, int columns, int padding) {
  UVIC_CHECK(pixels.rank() == 4 && pixels.dim(3) == 3 && pixels.dtype() == DType::u8 && pixels.dim(0) > 0,
             "make_grid: pixels must be [N, h, w, 3] u8, got ", pixels.shape(), " ", pixels.dtype());
  const int n = static_cast<int>(pixels.dim(0)), h = static_cast<int>(pixels.dim(1)),
            w = static_cast<int>(pixels.dim(2));
  if (columns <= 0)
    for (columns = 1; columns * columns < n;) ++columns;
  columns = std::min(columns, n);
  const int rows = (n + columns - 1) / columns;
  Image grid{rows * (h + padding) + padding, columns * (w + padding) + padding, {}};
  grid.rgb.resize(static_cast<size_t>(grid.height) * static_cast<size_t>(grid.width) * 3);
  const uint8_t* source = pixels.data<uint8_t>();
  for (int i = 0; i < n; ++i) {
    const int top = padding + i / columns * (h + padding), left = padding + i % columns * (w + padding);
    for (int y = 0; y < h; ++y, source += w * 3)
      std::memcpy(
          &grid.rgb[(static_cast<size_t>(top + y) * static_cast<size_t>(grid.width) + static_cast<size_t>(left)) * 3],
          source, static_cast<size_t>(w) * 3);
  }
  return grid;
}

}  // namespace uvic
