#pragma once

#include <string>
#include <string_view>

namespace uvic::text {

// What ftfy 6.1 (Robyn Speer, MIT licence) makes of a text with its default settings: CLIP's tokenizers begin with it.
// Mends text that was decoded by the wrong encoding, resolves HTML entities where there is no tag, straightens quotes,
// takes ligatures apart and full-width forms to their usual width, makes every line break \n, removes control
// characters and terminal colours, and composes (NFC). Line by line, and again until nothing changes.
std::u32string fix_text(std::u32string_view text);

// Its parts that undo a wrong decoding. is_bad says whether there seems to be one: by pairs of characters that hardly
// ever meet in writing.
bool is_bad(std::u32string_view text);
std::u32string fix_encoding(std::u32string_view text);
// Characters U+0080 to U+009F, which nobody means, as what Windows-1252 has in their place.
std::u32string fix_c1_controls(std::u32string_view text);

}  // namespace uvic::text
