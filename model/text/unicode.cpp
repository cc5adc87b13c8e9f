#include "model/text/unicode.h"

#include <algorithm>
#include <cstdint>
#include <iterator>

namespace uvic::text {
namespace {

struct Range {
  char32_t first, last;
};
struct CaseRange {  // every step-th of them
  char32_t first, last;
  uint32_t step;
  int32_t delta;
};
#include "model/text/unicode_classes.inc"

// The range of a sorted table that holds c, or null.
template <class R, size_t N>
const R* find(const R (&table)[N], char32_t c) {
  const R* after = std::upper_bound(std::begin(table), std::end(table), c,
                                    [](char32_t value, const R& range) { return value < range.first; });
  if (after == std::begin(table) || (after - 1)->last < c) return nullptr;
  return after - 1;
}

constexpr char32_t kReplacement = 0xFFFD;
constexpr char32_t kBroken = 0xFFFFFFFF;

// Takes one character off the front of bytes; of bytes that are none, the longest beginning of one, at least a byte.
char32_t take(std::string_view& bytes) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const unsigned char lead = byte(0);
  const auto give = [&](size_t n, char32_t c) {
    bytes.remove_prefix(n);
    return c;
  };
  if (lead < 0x80) return give(1, lead);
  if (lead < 0xC2 || lead > 0xF4) return give(1, kBroken);
  const size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  // The second byte's range keeps out what is overlong, a surrogate, or beyond U+10FFFF.
  unsigned char low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  unsigned char high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  char32_t c = lead & (0xFFu >> (length + 1));
  for (size_t i = 1; i < length; ++i) {
    if (i >= bytes.size() || byte(i) < low || byte(i) > high) return give(i, kBroken);
    c = c << 6 | (byte(i) & 0x3Fu);
    low = 0x80, high = 0xBF;
  }
  return give(length, c);
}

// Whether the capital sigma at i ends a word: behind a letter with case and before none, others in between not
// counting.
bool is_final_sigma(std::u32string_view text, size_t i) {
  size_t j = i;
  while (j > 0 && find(kCaseIgnorable, text[j - 1])) --j;
  if (j == 0 || !find(kCased, text[j - 1])) return false;
  size_t k = i + 1;
  while (k < text.size() && find(kCaseIgnorable, text[k])) ++k;
  return k == text.size() || !find(kCased, text[k]);
}

}  // namespace

std::u32string decode_utf8(std::string_view bytes) {
  std::u32string out;
  out.reserve(bytes.size());
  while (!bytes.empty()) {
    const char32_t c = take(bytes);
    out += c == kBroken ? kReplacement : c;
  }
  return out;
}

std::optional<std::u32string> decode_utf8_strictly(std::string_view bytes) {
  std::u32string out;
  while (!bytes.empty()) {
    const char32_t c = take(bytes);
    if (c == kBroken) return std::nullopt;
    out += c;
  }
  return out;
}

std::string encode_utf8(std::u32string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char32_t c : text) {
    const auto tail = [&](int shift) { out += static_cast<char>(0x80 | (c >> shift & 0x3F)); };
    if (c < 0x80) {
      out += static_cast<char>(c);
    } else if (c < 0x800) {
      out += static_cast<char>(0xC0 | c >> 6);
      tail(0);
    } else if (c < 0x10000) {
      out += static_cast<char>(0xE0 | c >> 12);
      tail(6), tail(0);
    } else {
      out += static_cast<char>(0xF0 | c >> 18);
      tail(12), tail(6), tail(0);
    }
  }
  return out;
}

bool is_letter(char32_t c) {
  if (c < 0x80) return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
  return find(kLetters, c);
}

bool is_number(char32_t c) {
  if (c < 0x80) return c >= '0' && c <= '9';
  return find(kNumbers, c);
}

bool is_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

std::u32string lower(std::u32string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const char32_t c = text[i];
    if (c == U'\u03A3') {
      out += is_final_sigma(text, i) ? U'\u03C2' : U'\u03C3';
    } else if (c == U'\u0130') {
      out += U"i\u0307";
    } else {
      const CaseRange* range = find(kLower, c);
      const bool has_lower = range && (c - range->first) % range->step == 0;
      out += has_lower ? static_cast<char32_t>(static_cast<int32_t>(c) + range->delta) : c;
    }
  }
  return out;
}

}  // namespace uvic::text
