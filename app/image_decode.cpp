#include <cstring>
#include <exception>
#include <opencv2/core.hpp>
#include <opencv2/core/utils/logger.hpp>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#include <utility>

#include "app/exif.h"
#include "app/image_io.h"
#include "app/png.h"
#include "kernels/core/error.h"

namespace uvic {
namespace {

// libjpeg pads a file that ends early with gray and only warns. Entropy-coded data holds 0xff only before 0 or a
// restart marker, and segments are skipped by their length, so that a thumbnail's end marker does not count.
bool has_jpeg_end(std::span<const uint8_t> b) {
  for (size_t at = 2; at + 1 < b.size();) {
    const void* mark = std::memchr(&b[at], 0xff, b.size() - 1 - at);
    if (!mark) return false;
    at = static_cast<size_t>(static_cast<const uint8_t*>(mark) - b.data());
    if (b[at + 1] == 0xff) {  // fill byte
      ++at;
      continue;
    }
    const int marker = b[at + 1];
    if (marker == 0xd9) return true;
    const bool alone = marker == 0 || marker == 1 || (marker >= 0xd0 && marker <= 0xd8);
    if (!alone && at + 3 >= b.size()) return false;
    at += alone ? 2 : 2 + static_cast<size_t>(b[at + 2] << 8 | b[at + 3]);
  }
  return false;
}

// OpenCV prints an exception of its own for a bitmap that ends early. Lengths of compressed ones cannot be known.
bool has_all_rows(std::span<const uint8_t> b, const ImageHeader& header) {
  const auto field = [&](size_t at, size_t count) {
    int64_t v = 0;
    for (size_t i = count; i-- > 0;) v = v << 8 | b[at + i];
    return v;
  };
  const bool old = field(14, 4) == 12;  // OS/2's header, which is never compressed
  if (!old && b.size() < 34) return false;
  const int64_t bits = old ? field(24, 2) : field(28, 2), compression = old ? 0 : field(30, 4);
  const bool rows_as_they_are = compression == 0 || compression == 3;
  const int64_t row = (header.width * bits + 31) / 32 * 4;
  return !rows_as_they_are || field(10, 4) + header.height * row <= static_cast<int64_t>(b.size());
}

}  // namespace

Image decode_image(std::span<const uint8_t> bytes, const std::string& name, Orientation orientation) {
  // The loader's threads are the parallelism; OpenCV's own would fight with them, and its warnings name no file.
  [[maybe_unused]] static const bool once = [] {
    cv::setNumThreads(1);
    cv::utils::logging::setLogLevel(cv::utils::logging::LOG_LEVEL_SILENT);
    return true;
  }();
  const ImageHeader header = probe_image(bytes, name);
  UVIC_CHECK(header.format != ImageFormat::unknown, name,
             bytes.empty() ? ": empty file" : ": not a JPEG, PNG, WebP or BMP image");
  if (header.format == ImageFormat::png) walk_png(bytes, name, false);
  UVIC_CHECK(header.format != ImageFormat::jpeg || has_jpeg_end(bytes), name, ": truncated JPEG file: no end marker");
  UVIC_CHECK(header.format != ImageFormat::bmp || has_all_rows(bytes, header), name, ": truncated BMP file");

  Image image{static_cast<int>(header.height), static_cast<int>(header.width), {}};
  cv::Mat decoded;
  try {
    const cv::Mat source(1, static_cast<int>(bytes.size()), CV_8U, const_cast<uint8_t*>(bytes.data()));
    decoded = cv::imdecode(source, cv::IMREAD_COLOR | cv::IMREAD_IGNORE_ORIENTATION);
  } catch (const std::exception&) {  // cv::Exception or bad_alloc; an empty result below is the other way to fail
    decoded.release();
  }
  UVIC_CHECK(!decoded.empty(), name, ": damaged image file: its pixels cannot be decoded");
  UVIC_CHECK(decoded.rows == image.height && decoded.cols == image.width && decoded.type() == CV_8UC3, name,
             ": decoded to ", decoded.cols, " x ", decoded.rows, ", its header says ", header.width, " x ",
             header.height);
  image.rgb.resize(decoded.total() * 3);
  cv::cvtColor(decoded, cv::Mat(decoded.rows, decoded.cols, CV_8UC3, image.rgb.data()), cv::COLOR_BGR2RGB);
  if (orientation == Orientation::stored) return image;
  return turn_upright(std::move(image), exif_orientation(bytes, header.format));
}

}  // namespace uvic
