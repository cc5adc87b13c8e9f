#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernels/core/tensor.h"

namespace uvic {

// 8-bit RGB on the host, rows from top to bottom.
struct Image {
  int height = 0;
  int width = 0;
  std::vector<uint8_t> rgb;  // [height, width, 3]

  Tensor tensor() { return {rgb.data(), DType::u8, {height, width, 3}}; }
  bool operator==(const Image&) const = default;
};

enum class ImageFormat : uint8_t { unknown, jpeg, png, webp, bmp };

// What the first bytes of a file say, without decoding: format unknown and size 0 if they are none of ours. Throws
// Error (starting with name) for a header that is broken.
struct ImageHeader {
  ImageFormat format = ImageFormat::unknown;
  int64_t height = 0;
  int64_t width = 0;
};
ImageHeader probe_image(std::span<const uint8_t> bytes, const std::string& name);

// jpg, jpeg, png, webp or bmp, in either case.
bool has_image_extension(const std::filesystem::path& path);

inline constexpr int64_t kMaxPixels = int64_t{1} << 28;  // of one image; a header that claims more is refused

// Whether a photo is turned as its EXIF orientation says.
enum class Orientation : uint8_t {
  stored,   // never, as the reference loaders (Pillow's convert("RGB")): what published numbers were measured on
  upright,  // as it was meant to be seen
};

// A JPEG, PNG, WebP or BMP file, told by its content, as RGB. As Pillow's convert("RGB") does: gray is repeated, alpha
// and colour keys are dropped, of 16 bits the high byte is kept, gamma is ignored. Throws Error, starting with name,
// for anything broken, truncated or larger than kMaxPixels; memory for the pixels is taken only after the header has
// been checked.
Image decode_image(std::span<const uint8_t> bytes, const std::string& name,
                   Orientation orientation = Orientation::stored);
Image read_image(const std::filesystem::path& path, Orientation orientation = Orientation::stored);

// The bytes of a file, or part of it. size < 0: up to the end. Throws Error naming path and the system's reason.
std::vector<uint8_t> read_bytes(const std::filesystem::path& path, int64_t offset = 0, int64_t size = -1);

// PNG of pixels [h, w, 3] u8 (host), with parameters, if not empty, in a text chunk of key "parameters": tEXt, or iTXt
// if it is not plain ASCII. write_png goes through path + ".tmp" and a rename, so that path is never half a file;
// throws Error naming path when the disk is full or not writable.
std::vector<uint8_t> encode_png(Tensor pixels, const std::string& parameters = {});
void write_png(const std::filesystem::path& path, Tensor pixels, const std::string& parameters = {});

// JPEG with half the chroma resolution. quality: 1 to 100.
std::vector<uint8_t> encode_jpeg(const Image& image, int quality);

struct PngInfo {
  int64_t height = 0;
  int64_t width = 0;
  std::string parameters;
};
// Size and "parameters" text of a PNG whose every chunk, up to its end, is present and intact; nothing if there is no
// such file or it is not whole. Reads, but does not decode.
std::optional<PngInfo> inspect_png(const std::filesystem::path& path);

// pixels [N, h, w, 3] u8, row by row on a black ground, padding pixels between them and around; columns 0: about
// square.
Image make_grid(Tensor pixels, int columns = 0, int padding = 2);

}  // namespace uvic
