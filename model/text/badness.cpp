// ftfy's heuristic for text that was decoded by the wrong encoding: the categories and rules of ftfy 6.1.1's
// badness.py.

#include <algorithm>
#include <map>

#include "model/text/fix_text.h"
#include "model/text/pattern.h"

namespace uvic::text {
namespace {

// The characters that mojibake is made of, by what they are in proper text.
const std::map<std::u32string, std::u32string>& categories() {
  static const std::map<std::u32string, std::u32string> all{
      {U"common", U"\u00A0\u00AD\u00B7\u00B4\u2013\u2014\u2015\u2026\u2019"},
      {U"c1", U"\u0080-\u009F"},
      {U"bad",
       U"\u00A6\u00A4\u00A8\u00AC\u00AF\u00B6\u00A7\u00B8\u0192\u02C6\u02C7\u02D8\u02DB\u02DC\u2020\u2021\u2030\u2310"
       U"\u25CA\uFFFD\u00AA\u00BA"},
      {U"currency", U"\u00A2\u00A3\u00A5\u20A7\u20AC"},
      {U"start", U"\u00A1\u00AB\u00BF\u00A9\u0384\u0385\u2018\u201A\u201C\u201E\u2022\u2039\uF8FF"},
      {U"end", U"\u00AE\u00BB\u02DD\u201D\u203A\u2122"},
      {U"numeric",
       U"\u00B2\u00B3\u00B9\u00B1\u00BC\u00BD\u00BE\u00D7\u00B5\u00F7\u2044\u2202\u2206\u220F\u2211\u221A\u221E\u2229"
       U"\u222B\u2248\u2260\u2261\u2264\u2265\u2116"},
      {U"kaomoji", U"\u00D2-\u00D6\u00D9-\u00DC\u00F2-\u00F6\u00F8-\u00FC\u0150\u00B0"},
      {U"upper",
       U"\u00C0-\u00D1\u00D8\u00DC\u00DD\u0102\u0104\u0106\u010C\u010E\u0110\u0118\u011A\u011E\u0130\u0139\u013D"
       U"\u0141\u0143\u0147\u0152\u0158\u015A\u015E\u0160\u0162\u0164\u016E\u0170\u0178\u0179\u017B\u017D\u0490"},
      {U"lower",
       U"\u00DF\u00E0-\u00F1\u0103\u0105\u0107\u010D\u010F\u0111\u0119\u011B\u011F\u013A\u013E\u0142\u0153\u0155"
       U"\u015B\u015F\u0161\u0165\u00FC\u017A\u017C\u017E\u0491\uFB01\uFB02"},
      {U"upper_common", U"\u00DE\u0391-\u03A9\u0386\u0388\u0389\u038A\u038C\u038E\u038F\u03AA\u03AB\u0401-\u042F"},
      {U"lower_common", U"\u03B1-\u03C9\u03AC\u03AD\u03AE\u03AF\u03B0\u0430-\u045F"},
      {U"box",
       U"\u2502\u250C\u2510\u2518\u251C\u2524\u252C\u253C\u2550-\u256C\u2580\u2584\u2588\u258C\u2590\u2591\u2592"
       U"\u2593"}};
  return all;
}

// What hardly ever stands side by side in proper text; {name} is a category.
constexpr std::u32string_view kBadness =
    U"[{c1}]"
    U"|[{bad}{lower}{upper}{box}{start}{end}{currency}{numeric}][{bad}]"
    U"|[a-zA-Z][{lower_common}{upper_common}][{bad}]"
    U"|[{bad}][{lower}{upper}{box}{start}{end}{currency}{numeric}]"
    U"|[{lower}{lower_common}{box}{end}{currency}{numeric}][{upper}]"
    U"|[{box}{end}{currency}{numeric}][{lower}]"
    U"|[{lower}{box}{end}][{currency}]"
    U"|\\s[{upper}][{currency}]"
    U"|[{upper}{box}][{numeric}]"
    U"|[{lower}{upper}{box}{currency}{end}][{start}][{numeric}]"
    U"|[{lower}{upper}{currency}{numeric}{box}][{end}][{start}]"
    U"|[{currency}{numeric}{box}][{start}]"
    U"|[a-z][{upper}][{start}{currency}]"
    U"|[{box}][{kaomoji}]"
    U"|[{lower}{upper}{currency}{numeric}{start}{end}][{box}]"
    U"|[{box}][{end}]"
    U"|[{lower}{upper}][{end}]\\w"
    U"|[Œœ][^A-Za-z]"
    // Windows-1252: pairs that the rules above leave out; Arabic; South Asian alphabets.
    U"|[ÂÃÎÐ][€Šš¢£Ÿž\u00A0\u00AD®©°·»{start}{end}–—´]"
    U"|×[²³]"
    U"|[ØÙ][{common}{currency}{bad}{numeric}{start}ŸŠ®°µ»][ØÙ][{common}{currency}{bad}{numeric}{start}ŸŠ®°µ»]"
    U"|à[²µ¹¼½¾]"
    // MacRoman
    U"|√[±∂†≠®™´≤≥¥µø]"
    U"|≈[°¢]"
    U"|‚Ä[ìîïòôúùû†°¢π]"
    U"|‚[âó][àä°ê]"
    // Windows-1251: of U+2000 and its neighbours; of Latin-1 and Cyrillic letters; of these on top of Windows-1252's.
    U"|вЂ"
    U"|[ВГРС][{c1}{bad}{start}{end}{currency}°µ][ВГРС]"
    U"|ГўВЂВ.[A-Za-z ]"
    // Windows-1252: à, á and the space that does not break.
    U"|Ã[\u00A0¡]"
    U"|[a-z]\\s?[ÃÂ][ ]"
    U"|^[ÃÂ][ ]"
    U"|[a-z.,?!{end}]Â[ {start}{end}]"
    // Windows-1253: of U+2000 and its neighbours; of Latin-1 and Greek letters.
    U"|β€[™\u00A0Ά\u00AD®°]"
    U"|[ΒΓΞΟ][{c1}{bad}{start}{end}{currency}°][ΒΓΞΟ]";

std::u32string with_categories(std::u32string_view source) {
  std::u32string out;
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != U'{') {
      out += source[i];
      continue;
    }
    const size_t end = source.find(U'}', i);
    out += categories().at(std::u32string(source.substr(i + 1, end - i - 1)));
    i = end;
  }
  return out;
}

}  // namespace

bool is_bad(std::u32string_view text) {
  static const Pattern badness(with_categories(kBadness));
  // Every rule has a character beyond ASCII.
  if (std::all_of(text.begin(), text.end(), [](char32_t c) { return c < 0x80; })) return false;
  return badness.occurs_in(text);
}

}  // namespace uvic::text
