#include <algorithm>
#include <cstdint>
#include <iterator>
#include <unordered_map>
#include <utility>

#include "model/text/unicode.h"

namespace uvic::text {
namespace {

struct ClassRange {
  char32_t first, last;
  uint8_t combining;
};
struct Decomposition {
  char32_t whole, first, second;  // second is 0 if it is one character only
};
#include "model/text/unicode_normal.inc"

// Hangul syllables are computed (The Unicode Standard, section 3.12).
constexpr char32_t kSyllables = 0xAC00, kLead = 0x1100, kVowel = 0x1161, kTail = 0x11A7;
constexpr char32_t kLeads = 19, kVowels = 21, kTails = 28, kCount = kLeads * kVowels * kTails;

struct Tables {
  std::unordered_map<char32_t, std::pair<char32_t, char32_t>> parts;
  std::unordered_map<uint64_t, char32_t> wholes;

  static uint64_t key(char32_t a, char32_t b) { return uint64_t{a} << 32 | b; }
  Tables() {
    for (const Decomposition& d : kComposed) wholes[key(d.first, d.second)] = d.whole;
    for (const Decomposition& d : kComposed) parts[d.whole] = {d.first, d.second};
    for (const Decomposition& d : kDecomposedOnly) parts[d.whole] = {d.first, d.second};
  }
};
const Tables& tables() {
  static const Tables all;
  return all;
}

uint8_t combining(char32_t c) {
  if (c < 0x300) return 0;
  const ClassRange* after = std::upper_bound(std::begin(kCombining), std::end(kCombining), c,
                                             [](char32_t v, const ClassRange& range) { return v < range.first; });
  return after == std::begin(kCombining) || (after - 1)->last < c ? 0 : (after - 1)->combining;
}

void decompose(char32_t c, std::u32string& out) {
  if (c >= kSyllables && c < kSyllables + kCount) {
    const char32_t s = c - kSyllables;
    out += kLead + s / (kVowels * kTails);
    out += kVowel + s / kTails % kVowels;
    if (s % kTails) out += kTail + s % kTails;
    return;
  }
  const auto it = c < 0xC0 ? tables().parts.end() : tables().parts.find(c);
  if (it == tables().parts.end()) {
    out += c;
    return;
  }
  decompose(it->second.first, out);
  if (it->second.second) decompose(it->second.second, out);
}

char32_t compose(char32_t a, char32_t b) {  // 0 if they do not
  if (a >= kLead && a < kLead + kLeads && b >= kVowel && b < kVowel + kVowels)
    return kSyllables + ((a - kLead) * kVowels + (b - kVowel)) * kTails;
  if (a >= kSyllables && a < kSyllables + kCount && (a - kSyllables) % kTails == 0 && b > kTail && b < kTail + kTails)
    return a + (b - kTail);
  const auto it = tables().wholes.find(Tables::key(a, b));
  return it == tables().wholes.end() ? 0 : it->second;
}

}  // namespace

std::u32string normalize(std::u32string_view text) {
  // Nothing below U+0300 combines, and all of it is composed.
  if (std::all_of(text.begin(), text.end(), [](char32_t c) { return c < 0x300; })) return std::u32string(text);
  std::u32string parts;
  for (const char32_t c : text) decompose(c, parts);
  for (auto it = parts.begin(); it != parts.end();) {
    if (combining(*it) == 0) {
      ++it;
      continue;
    }
    const auto end = std::find_if(it, parts.end(), [](char32_t c) { return combining(c) == 0; });
    std::stable_sort(it, end, [](char32_t a, char32_t b) { return combining(a) < combining(b); });
    it = end;
  }
  std::u32string out;
  constexpr size_t kNone = static_cast<size_t>(-1);
  size_t starter = kNone;  // in out, the last with class 0
  uint8_t last = 0;        // class of what came after it and stayed
  for (const char32_t c : parts) {
    const uint8_t k = combining(c);
    const bool follows = starter != kNone && starter + 1 == out.size();
    const bool blocked = !follows && last >= k;  // something of its class, or a starter, is in between
    if (const char32_t whole = starter == kNone || blocked ? 0 : compose(out[starter], c)) {
      out[starter] = whole;
      continue;
    }
    if (k == 0) starter = out.size();
    last = k;
    out += c;
  }
  return out;
}

}  // namespace uvic::text
