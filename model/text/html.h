#pragma once

#include <string>
#include <string_view>

namespace uvic::text {

// As Python's html.unescape: every reference to a character, with or without its semicolon, as browsers read them.
std::u32string unescape_html(std::u32string_view text);

// As ftfy's: only names that end in a semicolon, and also those written in capitals (&EACUTE; is an É).
std::u32string unescape_entities(std::u32string_view text);

}  // namespace uvic::text
