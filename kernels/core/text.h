#pragma once

#include <span>
#include <string>
#include <string_view>

namespace uvic {

// Text for error messages.

// The candidate that differs from word by the fewest insertions, deletions, replacements and swaps of neighbours, the
// first of several; empty only if there is none.
std::string nearest(std::string_view word, std::span<const std::string> candidates);

// Safe to print from a hostile file: control bytes become \n, \t or \x1b. Always one line.
std::string escape(std::string_view text);
// The same in double quotes; what follows 120 bytes becomes "...".
std::string quote(std::string_view text);

// a, b, c
std::string join(std::span<const std::string> words, std::string_view separator = ", ");

}  // namespace uvic
