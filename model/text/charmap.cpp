#include "model/text/charmap.h"

#include <array>

namespace uvic::text {
namespace {

#include "model/text/charmaps.inc"

constexpr auto kLatin1 = [] {
  std::array<char16_t, 128> all{};
  for (size_t i = 0; i < 128; ++i) all[i] = static_cast<char16_t>(128 + i);
  return all;
}();

constexpr char32_t kSubstitute = 0x1A, kReplacement = 0xFFFD;

}  // namespace

bool is_sloppy(Charmap map) { return map >= Charmap::windows1252 && map <= Charmap::windows1254; }

std::u16string_view charmap(Charmap map) {
  switch (map) {
    case Charmap::latin1: return {kLatin1.data(), kLatin1.size()};
    case Charmap::windows1252: return {kWindows1252, 128};
    case Charmap::windows1251: return {kWindows1251, 128};
    case Charmap::windows1250: return {kWindows1250, 128};
    case Charmap::windows1253: return {kWindows1253, 128};
    case Charmap::windows1254: return {kWindows1254, 128};
    case Charmap::latin2: return {kLatin2, 128};
    case Charmap::mac_roman: return {kMacRoman, 128};
    case Charmap::cp437: return {kCp437, 128};
  }
  return {};
}

std::optional<std::u32string> encode(Charmap map, std::u32string_view text) {
  const std::u16string_view high = charmap(map);
  std::u32string bytes;
  bytes.reserve(text.size());
  for (const char32_t c : text) {
    if (is_sloppy(map) && (c == kSubstitute || c == kReplacement)) {
      if (c == kSubstitute) return std::nullopt;
      bytes += kSubstitute;
    } else if (c < 0x80) {
      bytes += c;
    } else {
      const size_t at = c > 0xFFFF ? high.npos : high.find(static_cast<char16_t>(c));
      if (at == high.npos) return std::nullopt;
      bytes += static_cast<char32_t>(0x80 + at);
    }
  }
  return bytes;
}

}  // namespace uvic::text
