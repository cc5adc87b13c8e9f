#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace uvic::text {

// Encodings of one byte a character. Those of Windows have ftfy's "sloppy" form: a byte that stands for nothing stands
// for the character of its own number, and 0x1A for U+FFFD.
enum class Charmap : uint8_t {
  latin1,
  windows1252,
  windows1251,
  windows1250,
  windows1253,
  windows1254,
  latin2,
  mac_roman,
  cp437
};

bool is_sloppy(Charmap map);

// What bytes 0x80 to 0xFF stand for.
std::u16string_view charmap(Charmap map);

// The bytes of text, each as a character below U+0100; nothing if there is a character that map has not.
std::optional<std::u32string> encode(Charmap map, std::u32string_view text);

}  // namespace uvic::text
