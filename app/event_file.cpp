#include "app/event_file.h"

#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>

#include "kernels/core/error.h"

namespace uvic {
namespace fs = std::filesystem;
namespace {

constexpr std::array<uint32_t, 256> kTable = [] {
  std::array<uint32_t, 256> table{};
  for (uint32_t n = 0; n < 256; ++n) {
    uint32_t c = n;
    for (int bit = 0; bit < 8; ++bit) c = c & 1 ? 0x82f63b78u ^ (c >> 1) : c >> 1;
    table[n] = c;
  }
  return table;
}();

// A checksum of bytes that hold their own checksum would be of little use: TFRecord rotates it and adds a constant.
uint32_t masked(uint32_t crc) { return std::rotr(crc, 15) + 0xa282ead8u; }

template <class T>
std::string little_endian(T value) {
  std::string out(sizeof value, '\0');
  const auto bits = std::bit_cast<std::array<char, sizeof value>>(value);  // x86: in this order already
  std::memcpy(out.data(), bits.data(), sizeof value);
  return out;
}

// ---- protobuf's wire format: fields of the messages below, of the kinds they need ----------------------------------
std::string varint(uint64_t v) {
  std::string out;
  for (; v >= 0x80; v >>= 7) out += static_cast<char>(v | 0x80);
  return out + static_cast<char>(v);
}

std::string field(int number, int64_t value) {
  return varint(static_cast<uint64_t>(number) << 3) + varint(static_cast<uint64_t>(value));
}
std::string field(int number, double value) { return varint(uint64_t(number) << 3 | 1) + little_endian(value); }
std::string field(int number, float value) { return varint(uint64_t(number) << 3 | 5) + little_endian(value); }
std::string field(int number, std::string_view bytes) {
  return concat(varint(uint64_t(number) << 3 | 2), varint(bytes.size()), bytes);
}

// ---- tensorflow/core/util/event.proto and framework/summary.proto --------------------------------------------------
double now() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

// Event: wall_time 1, step 2, and one of file_version 3, summary 5, session_log 7.
std::string event(int64_t step, int what, std::string_view body) {
  return field(1, now()) + field(2, step) + field(what, body);
}
// Summary: value 1. Summary.Value: tag 1, simple_value 2, image 4.
std::string scalar(const std::string& tag, double value) {
  return field(1, field(1, tag) + field(2, static_cast<float>(value)));
}

bool is_event_file(const fs::path& path) { return path.filename().string().starts_with("events.out.tfevents."); }

fs::path next_path(const fs::path& folder) {
  int starts = 0;
  std::error_code error;  // of a missing folder, which opening the file tells better
  for (const auto& entry : fs::directory_iterator(folder, error)) starts += is_event_file(entry.path());
  char name[64];
  std::snprintf(name, sizeof name, "events.out.tfevents.%010lld.%04d", static_cast<long long>(now()), starts);
  return folder / name;
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  uint32_t c = ~0u;
  for (const char b : bytes) c = kTable[(c ^ static_cast<uint8_t>(b)) & 0xff] ^ (c >> 8);
  return ~c;
}

EventFile::EventFile(const fs::path& folder, int64_t first_step) : path_(next_path(folder)) {
  out_.open(path_, std::ios::binary);
  UVIC_CHECK(out_, path_.string(), ": cannot write: ", std::strerror(errno));
  constexpr int64_t kStart = 1;
  record(event(0, 3, "brain.Event:2"));
  record(event(first_step, 7, field(1, kStart)));  // SessionLog: status 1
}

void EventFile::scalars(int64_t step, const Scalars& values) {
  std::string summary;
  for (const auto& [tag, value] : values) summary += scalar(tag, value);
  record(event(step, 5, summary));
}

void EventFile::image(int64_t step, const std::string& tag, int64_t height, int64_t width,
                      std::span<const uint8_t> png) {
  constexpr int64_t kRgb = 3;
  // Summary.Image: height 1, width 2, colorspace 3, encoded_image_string 4.
  const std::string image = field(1, height) + field(2, width) + field(3, kRgb) +
                            field(4, {reinterpret_cast<const char*>(png.data()), png.size()});
  record(event(step, 5, field(1, field(1, tag) + field(4, image))));
}

void EventFile::record(const std::string& event) {
  const std::string length = little_endian(uint64_t{event.size()});
  out_ << length << little_endian(masked(crc32c(length))) << event << little_endian(masked(crc32c(event)))
       << std::flush;
  UVIC_CHECK(out_, path_.string(), ": cannot write: ", std::strerror(errno));
}

}  // namespace uvic
