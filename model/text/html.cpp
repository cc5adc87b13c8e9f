#include "model/text/html.h"

#include <algorithm>
#include <cstdint>
#include <unordered_map>

#include "model/text/charmap.h"
#include "model/text/unicode.h"

namespace uvic::text {
namespace {

#include "model/text/html_entities.inc"

// By name, with the semicolon where there is one.
using Names = std::unordered_map<std::string, std::u32string>;

// A list of name, then ';', or '&' if the name also counts without it, then code points in base 16 between '+'.
Names read(std::string_view list) {
  Names names;
  while (!list.empty()) {
    const size_t end = list.find(' '), mark = list.find_first_of(";&");
    const std::string name(list.substr(0, mark));
    std::u32string value;
    for (size_t at = mark; at < end; at = std::min(end, list.find('+', at + 1)))
      value += static_cast<char32_t>(std::stoul(std::string(list.substr(at + 1, end - at - 1)), nullptr, 16));
    if (list[mark] == '&') names[name] = value;
    names[name + ';'] = value;
    list.remove_prefix(end + 1);
  }
  return names;
}

const Names& html5() {
  static const Names names = read(kEntities);
  return names;
}
const Names& capitals() {
  static const Names names = read(kCapitalEntities);
  return names;
}

bool is_digit(char32_t c, bool hex) {
  return (c >= U'0' && c <= U'9') || (hex && ((c | 0x20) >= U'a' && (c | 0x20) <= U'f'));
}

struct Reference {
  size_t length = 0;  // of the text from '&' on; 0 if it is none
  std::u32string value;
};

// "&#233;" or "&#xE9;" at the front of text, the semicolon optional.
Reference numeric(std::u32string_view text) {
  const bool hex = text.size() > 2 && (text[2] | 0x20) == U'x';
  const size_t first = hex ? 3 : 2;
  size_t i = first;
  uint32_t code = 0;
  for (; i < text.size() && is_digit(text[i], hex); ++i) {
    const uint32_t digit = text[i] <= U'9' ? text[i] - U'0' : (text[i] | 0x20) - U'a' + 10;
    code = std::min<uint32_t>(code * (hex ? 16 : 10) + digit, 0x110000);  // beyond that all are alike
  }
  if (i == first) return {};
  Reference r{i < text.size() && text[i] == U';' ? i + 1 : i, {}};
  if (code == 0 || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) {
    r.value = U"\uFFFD";
  } else if (code >= 0x80 && code <= 0x9F) {
    r.value = charmap(Charmap::windows1252)[code - 0x80];  // what browsers take it for
  } else if (!(code < 0x20 && code != '\t' && code != '\n' && code != '\f' && code != '\r') && code != 0x7F &&
             !(code >= 0xFDD0 && code <= 0xFDEF) && (code & 0xFFFE) != 0xFFFE) {
    r.value = static_cast<char32_t>(code);
  }
  return r;
}

// A name at the front of text: the whole of it, or the longest beginning that counts without a semicolon.
Reference named(std::u32string_view text) {
  constexpr size_t kLongest = 32;
  constexpr std::u32string_view kEnd = U"\t\n\f <&#;";
  size_t n = 1;
  while (n < text.size() && n <= kLongest && kEnd.find(text[n]) == kEnd.npos) ++n;
  if (n == 1) return {};
  if (n < text.size() && text[n] == U';') ++n;
  for (size_t length = n; length > 2; --length) {
    const auto it = html5().find(encode_utf8(text.substr(1, length - 1)));
    if (it != html5().end()) return {length, it->second};
  }
  return {};
}

}  // namespace

std::u32string unescape_html(std::u32string_view text) {
  std::u32string out;
  while (!text.empty()) {
    Reference r;
    if (text.size() > 1 && text[0] == U'&') r = text[1] == U'#' ? numeric(text) : named(text);
    if (r.length == 0) out += text[0];
    out += r.value;
    text.remove_prefix(std::max<size_t>(r.length, 1));
  }
  return out;
}

std::u32string unescape_entities(std::u32string_view text) {
  constexpr size_t kLongest = 24;
  const auto is_name = [](char32_t c) { return is_digit(c, false) || ((c | 0x20) >= U'a' && (c | 0x20) <= U'z'); };
  const auto value = [&](std::u32string_view reference) -> std::u32string {  // with '&' and ';'
    if (reference[1] == U'#') {
      const Reference r = numeric(reference);
      return r.length == reference.size() && r.value != U";" ? r.value : std::u32string(reference);
    }
    const std::string name = encode_utf8(reference.substr(1));
    if (const auto it = html5().find(name); it != html5().end()) return it->second;
    const auto it = capitals().find(name);
    return it == capitals().end() ? std::u32string(reference) : it->second;
  };
  std::u32string out;
  for (size_t i = 0; i < text.size();) {
    size_t n = i + 1;
    if (text[i] == U'&') {
      if (n < text.size() && text[n] == U'#') ++n;
      const size_t first = n;
      while (n < text.size() && n - first <= kLongest && is_name(text[n])) ++n;
      if (n > first && n - first <= kLongest && n < text.size() && text[n] == U';') {
        out += value(text.substr(i, n + 1 - i));
        i = n + 1;
        continue;
      }
    }
    out += text[i++];
  }
  return out;
}

}  // namespace uvic::text
