#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace uvic::text {

// Unicode text as Python sees it: case and normal forms of Unicode 14 (Python 3.11), letters and numbers of Unicode 17
// (the regex package), since that is what the published tokenizers ran on.

// What is not UTF-8 becomes U+FFFD, one for each longest run of bytes that could begin a character.
std::u32string decode_utf8(std::string_view bytes);
// Nothing if any byte is out of place.
std::optional<std::u32string> decode_utf8_strictly(std::string_view bytes);
std::string encode_utf8(std::u32string_view text);

bool is_letter(char32_t c);  // \p{L}
bool is_number(char32_t c);  // \p{N}
bool is_space(char32_t c);   // \s

std::u32string lower(std::u32string_view text);      // full: a final sigma, a dotted I
std::u32string normalize(std::u32string_view text);  // NFC

}  // namespace uvic::text
