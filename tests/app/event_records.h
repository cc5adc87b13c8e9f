#pragma once

// A TensorBoard event file taken apart: by hand from the format's description, sharing nothing with app/event_file.

#include <cstring>
#include <map>

#include "app/event_file.h"
#include "kernels/core/error.h"

namespace uvic::test {

// One message's fields by number: varints and the bits of fixed numbers as integers, the rest as bytes.
struct Message {
  std::multimap<int, uint64_t> numbers;
  std::multimap<int, std::string> bytes;

  explicit Message(const std::string& wire) {
    size_t at = 0;
    const auto varint = [&] {
      uint64_t v = 0;
      for (int shift = 0;; shift += 7) {
        UVIC_CHECK(at < wire.size() && shift < 64, "a varint ends nowhere");
        const auto b = static_cast<uint8_t>(wire[at++]);
        v |= uint64_t{b & 0x7fu} << shift;
        if (b < 0x80) return v;
      }
    };
    while (at < wire.size()) {
      const uint64_t key = varint();
      const int number = static_cast<int>(key >> 3);
      const uint64_t kind = key & 7;
      const size_t size = kind == 1 ? 8 : kind == 5 ? 4 : kind == 2 ? varint() : 0;
      UVIC_CHECK(kind < 6 && kind != 3 && kind != 4 && size <= wire.size() - at, "field ", number, " is no field");
      if (kind == 2) bytes.emplace(number, wire.substr(at, size));
      uint64_t v = kind == 0 ? varint() : 0;
      if (kind == 1 || kind == 5) std::memcpy(&v, &wire[at], size);
      if (kind != 2) numbers.emplace(number, v);
      at += size;
    }
  }
  uint64_t number(int field) const { return numbers.contains(field) ? numbers.find(field)->second : 0; }
  const std::string& text(int field) const {
    UVIC_CHECK(bytes.contains(field), "no field ", field);
    return bytes.find(field)->second;
  }
  template <class T>
  T floating(int field) const {
    const uint64_t bits = number(field);
    T v;
    std::memcpy(&v, &bits, sizeof v);
    return v;
  }
};

// The Event messages of a file's content; every length and checksum must be right.
inline std::vector<Message> event_records(const std::string& file) {
  const auto checked = [&](size_t at, size_t size) {
    uint32_t sum = 0;
    UVIC_CHECK(size <= file.size() && at + size + 4 <= file.size(), "a record ends beyond the file");
    std::memcpy(&sum, &file[at + size], 4);
    const uint32_t unmasked = sum - 0xa282ead8u;
    UVIC_CHECK((unmasked >> 17 | unmasked << 15) == crc32c(file.substr(at, size)), "wrong checksum at ", at);
    return file.substr(at, size);
  };
  std::vector<Message> events;
  for (size_t at = 0; at < file.size();) {
    uint64_t length = 0;
    std::memcpy(&length, checked(at, 8).data(), 8);
    events.emplace_back(checked(at + 12, length));
    at += 12 + length + 4;
  }
  return events;
}

}  // namespace uvic::test
