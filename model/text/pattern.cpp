#include "model/text/pattern.h"

#include <algorithm>

#include "model/text/unicode.h"

namespace uvic::text {

Pattern::Pattern(std::u32string_view source) {
  alternatives_.emplace_back();
  for (size_t i = 0; i < source.size(); ++i) {
    const char32_t c = source[i];
    std::vector<Element>& elements = alternatives_.back().elements;
    if (c == U' ') continue;
    if (c == U'|') {
      alternatives_.emplace_back();
    } else if (c == U'^') {
      alternatives_.back().at_start = true;
    } else if (c == U'?') {
      elements.back().optional = true;
    } else if (c == U'.') {
      elements.push_back({.ranges = {{U'\n', U'\n'}}, .except = true});
    } else if (c == U'\\') {
      elements.push_back({.space = source[i + 1] == U's', .word = source[i + 1] == U'w'});
      ++i;
    } else if (c != U'[') {
      elements.push_back({.ranges = {{c, c}}});
    } else {
      Element e{.except = source[i + 1] == U'^'};
      for (i += e.except ? 2 : 1; source[i] != U']'; ++i) {
        const bool range = source[i + 1] == U'-' && source[i + 2] != U']';
        e.ranges.emplace_back(source[i], source[range ? i + 2 : i]);
        if (range) i += 2;
      }
      elements.push_back(std::move(e));
    }
  }
}

bool Pattern::Element::holds(char32_t c) const {
  if (space) return is_space(c);
  if (word) return is_letter(c) || is_number(c) || c == U'_';
  return except !=
         std::any_of(ranges.begin(), ranges.end(), [c](const auto& r) { return r.first <= c && c <= r.second; });
}

size_t Pattern::match(const Alternative& a, size_t element, std::u32string_view text, size_t at) const {
  if (element == a.elements.size()) return at;
  const Element& e = a.elements[element];
  if (at < text.size() && e.holds(text[at])) {
    const size_t end = match(a, element + 1, text, at + 1);
    if (end != kNone) return end;
  }
  return e.optional ? match(a, element + 1, text, at) : kNone;
}

size_t Pattern::match(std::u32string_view text, size_t at) const {
  for (const Alternative& a : alternatives_) {
    if (a.at_start && at > 0) continue;
    const size_t end = match(a, 0, text, at);
    if (end != kNone) return end - at;
  }
  return kNone;
}

bool Pattern::occurs_in(std::u32string_view text) const {
  for (size_t i = 0; i < text.size(); ++i)
    if (match(text, i) != kNone) return true;
  return false;
}

std::u32string Pattern::replace(std::u32string_view text,
                                const std::function<std::u32string(std::u32string_view)>& with) const {
  std::u32string out;
  for (size_t i = 0; i < text.size();) {
    const size_t length = match(text, i);
    if (length == kNone) {
      out += text[i++];
    } else {
      out += with(text.substr(i, length));
      i += length;
    }
  }
  return out;
}

}  // namespace uvic::text
