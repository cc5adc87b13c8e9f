#include "model/text/fix_text.h"

#include <algorithm>
#include <utility>

#include "model/text/charmap.h"
#include "model/text/html.h"
#include "model/text/unicode.h"

namespace uvic::text {
namespace {

#include "model/text/width.inc"

constexpr std::pair<char32_t, std::u32string_view> kLigatures[] = {
    {0x132, U"IJ"},       {0x133, U"ij"},  {0x149, U"\u02BCn"}, {0x1C4, U"D\u017D"}, {0x1C5, U"D\u017E"},
    {0x1C6, U"d\u017E"},  {0x1C7, U"LJ"},  {0x1C8, U"Lj"},      {0x1C9, U"lj"},      {0x1CA, U"NJ"},
    {0x1CB, U"Nj"},       {0x1CC, U"nj"},  {0x1F1, U"DZ"},      {0x1F2, U"Dz"},      {0x1F3, U"dz"},
    {0xFB00, U"ff"},      {0xFB01, U"fi"}, {0xFB02, U"fl"},     {0xFB03, U"ffi"},    {0xFB04, U"ffl"},
    {0xFB05, U"\u017Ft"}, {0xFB06, U"st"}};

bool is_control(char32_t c) {
  return c < 0x09 || c == 0x0B || (c >= 0x0E && c < 0x20) || c == 0x7F || (c >= 0x206A && c <= 0x206F) || c == 0xFEFF ||
         (c >= 0xFFF9 && c <= 0xFFFC);
}

// Ligatures, widths and quotes: one character at a time, each may come out of the one before.
std::u32string fix_characters(std::u32string_view text) {
  std::u32string out;
  out.reserve(text.size());
  const auto put = [&](char32_t c) {
    if (c == 0x3000) c = U' ';
    if (c == 0xFFE3) {
      out += U" \u0304";
      return;
    }
    if (c >= 0xFF01 && c <= 0xFFEF) c = kWidth[c - 0xFF01];
    if (c >= 0x201C && c <= 0x201F) c = U'"';
    if (c == 0x02BC || (c >= 0x2018 && c <= 0x201B)) c = U'\'';
    out += c;
  };
  for (const char32_t c : text) {
    const auto* it =
        std::find_if(std::begin(kLigatures), std::end(kLigatures), [c](const auto& l) { return l.first == c; });
    if (c < 0x132 || it == std::end(kLigatures)) {
      put(c);
    } else {
      for (const char32_t letter : it->second) put(letter);
    }
  }
  return out;
}

std::u32string fix_line_breaks(std::u32string_view text) {
  std::u32string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const char32_t c = text[i];
    if (c == U'\r' && i + 1 < text.size() && text[i + 1] == U'\n') continue;
    out += c == U'\r' || c == 0x2028 || c == 0x2029 || c == 0x85 ? U'\n' : c;
  }
  return out;
}

// Escape, '[', digits and semicolons, a letter. (Python's \d is any decimal digit, but terminals know ten.)
std::u32string remove_terminal_escapes(std::u32string_view text) {
  std::u32string out;
  for (size_t i = 0; i < text.size();) {
    size_t n = i + 2;
    if (text[i] == 0x1B && n <= text.size() && text[i + 1] == U'[') {
      while (n < text.size() && ((text[n] >= U'0' && text[n] <= U'9') || text[n] == U';')) ++n;
      if (n < text.size() && (text[n] | 0x20) >= U'a' && (text[n] | 0x20) <= U'z') {
        i = n + 1;
        continue;
      }
    }
    out += text[i++];
  }
  return out;
}

std::u32string fix_segment(std::u32string text, bool entities) {
  for (;;) {
    const std::u32string before = text;
    if (entities) text = unescape_entities(text);
    text = fix_line_breaks(fix_characters(fix_c1_controls(fix_encoding(text))));
    text = remove_terminal_escapes(text);
    std::erase_if(text, is_control);
    text = normalize(text);
    if (text == before) return text;
  }
}

}  // namespace

std::u32string fix_c1_controls(std::u32string_view text) {
  std::u32string out(text);
  for (char32_t& c : out)
    if (c >= 0x80 && c <= 0x9F) c = charmap(Charmap::windows1252)[c - 0x80];
  return out;
}

std::u32string fix_text(std::u32string_view text) {
  constexpr size_t kLongest = 1'000'000;  // ftfy's bound on a segment
  std::u32string out;
  bool entities = true;
  while (!text.empty()) {
    const size_t line = text.find(U'\n');
    const size_t n = std::min(line == text.npos ? text.size() : line + 1, kLongest);
    std::u32string segment(text.substr(0, n));
    if (segment.find(U'<') != segment.npos) entities = false;  // HTML, here and from here on
    out += fix_segment(std::move(segment), entities);
    text.remove_prefix(n);
  }
  return out;
}

}  // namespace uvic::text
