#include "kernels/core/text.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/core/error.h"

namespace uvic {
namespace {

// Damerau-Levenshtein distance in its restricted form (no pair is swapped and then edited again).
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before_last(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before_last[j - 2] + 1);
    }
    before_last.swap(last);
    last.swap(row);
  }
  return last[b.size()];
}

}  // namespace

std::string nearest(std::string_view word, std::span<const std::string> candidates) {
  size_t best = SIZE_MAX;
  std::string found;
  for (const std::string& c : candidates) {
    const size_t difference = c.size() > word.size() ? c.size() - word.size() : word.size() - c.size();
    if (difference >= best) continue;  // a lower bound of the distance: keeps long lists and long names cheap
    if (const size_t d = edit_distance(word, c); d < best) {
      best = d;
      found = c;
    }
  }
  return found;
}

std::string escape(std::string_view text) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string s;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\n') {
      s += "\\n";
    } else if (c == '\t') {
      s += "\\t";
    } else if (byte < 0x20 || byte == 0x7f) {
      s += {'\\', 'x', kHex[byte >> 4], kHex[byte & 15]};
    } else {
      s += c;
    }
  }
  return s;
}

std::string quote(std::string_view text) {
  constexpr size_t kMax = 120;
  size_t end = std::min(text.size(), kMax);
  const auto continues = [&](size_t at) { return at < text.size() && (text[at] & 0xC0) == 0x80; };
  for (int i = 0; i < 3 && continues(end); ++i) --end;  // not in the middle of a character of UTF-8
  return concat('"', escape(text.substr(0, end)), end < text.size() ? "...\"" : "\"");
}

std::string join(std::span<const std::string> words, std::string_view separator) {
  std::string s;
  for (size_t i = 0; i < words.size(); ++i) s.append(i == 0 ? "" : separator).append(words[i]);
  return s;
}

}  // namespace uvic
