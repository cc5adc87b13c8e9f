#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace uvic::text {

// The small part of regular expressions that ftfy's tables are written in: alternatives `a|b`, tried in order, of
// characters, classes `[a-z]`, `[^a-z]`, `.`, \s and \w, each of which may be optional (`?`), behind `^` at the start
// of the text only. Spaces outside of classes do not count. std::regex knows no characters beyond a byte.
class Pattern {
 public:
  explicit Pattern(std::u32string_view source);

  static constexpr size_t kNone = static_cast<size_t>(-1);
  size_t match(std::u32string_view text, size_t at) const;  // the length of the match that begins there, or kNone
  bool occurs_in(std::u32string_view text) const;
  // text with every match, from left to right, replaced by what `with` makes of it.
  std::u32string replace(std::u32string_view text,
                         const std::function<std::u32string(std::u32string_view)>& with) const;

 private:
  struct Element {
    std::vector<std::pair<char32_t, char32_t>> ranges;
    bool space = false, word = false, except = false, optional = false;
    bool holds(char32_t c) const;
  };
  struct Alternative {
    bool at_start = false;
    std::vector<Element> elements;
  };
  size_t match(const Alternative& a, size_t element, std::u32string_view text, size_t at) const;

  std::vector<Alternative> alternatives_;
};

}  // namespace uvic::text
