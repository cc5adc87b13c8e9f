// Undoes a decoding by the wrong encoding, as ftfy 6.1.1 does: what can be read as UTF-8 once it is bytes again was
// UTF-8.

#include <algorithm>
#include <optional>

#include "model/text/charmap.h"
#include "model/text/fix_text.h"
#include "model/text/pattern.h"
#include "model/text/unicode.h"

namespace uvic::text {
namespace {

// ---- bytes, each a character below U+0100 ---------------------------------------------------------------------------
// UTF-8 in which a byte 0xA0, a space of Latin-1, has become an ordinary one; ftfy says why not every lead byte counts.
constexpr std::u32string_view kAlteredUtf8 =
    U"[\u00C2\u00C3\u00C5\u00CE\u00D0\u00D9][ ]"
    U"|[\u00E2\u00E3][ ][\u0080-\u0084\u0086-\u009F\u00A1-\u00BF]"
    U"|[\u00E0-\u00E3][\u0080-\u0084\u0086-\u009F\u00A1-\u00BF][ ]"
    U"|\u00F0[ ][\u0080-\u00BF][\u0080-\u00BF]"
    U"|\u00F0[\u0080-\u00BF][ ][\u0080-\u00BF]"
    U"|\u00F0[\u0080-\u00BF][\u0080-\u00BF][ ]";
// UTF-8 in which bytes are lost: 0x1A stands for U+FFFD, and so may one question mark.
constexpr std::u32string_view kLossyUtf8 =
    U"[\u00C2-\u00DF][\x1A]"
    U"|[\u00C2-\u00C3][?]"
    U"|\u00ED[\u00A0-\u00AF][\x1A?]\u00ED[\u00B0-\u00BF][\x1A?\u0080-\u00BF]"
    U"|\u00ED[\u00A0-\u00AF][\x1A?\u0080-\u00BF]\u00ED[\u00B0-\u00BF][\x1A?]"
    U"|[\u00E0-\u00EF][\x1A?][\x1A\u0080-\u00BF]"
    U"|[\u00E0-\u00EF][\x1A\u0080-\u00BF][\x1A?]"
    U"|[\u00F0-\u00F4][\x1A?][\x1A\u0080-\u00BF][\x1A\u0080-\u00BF]"
    U"|[\u00F0-\u00F4][\x1A\u0080-\u00BF][\x1A?][\x1A\u0080-\u00BF]"
    U"|[\u00F0-\u00F4][\x1A\u0080-\u00BF][\x1A\u0080-\u00BF][\x1A?]"
    U"|\x1A";

// "Ã " alone is "à" and a space, but in Portuguese "Ã quele" is "àquele".
std::u32string restore_byte_a0(std::u32string_view bytes) {
  static const Pattern altered(kAlteredUtf8);
  std::u32string out;
  for (size_t i = 0; i < bytes.size(); ++i) {
    out += bytes[i];
    if (bytes[i] != 0xC3 || i + 1 >= bytes.size() || bytes[i + 1] != U' ') continue;
    const std::u32string_view rest = bytes.substr(i + 2);
    bool word = false;
    for (const std::u32string_view w : {U" ", U"quele", U"quela", U"quilo", U"s "}) word = word || rest.starts_with(w);
    if (!word) out += U"\u00A0", out += bytes[++i];
  }
  return altered.replace(out, [](std::u32string_view match) {
    std::u32string with(match);
    for (char32_t& c : with)
      if (c == U' ') c = 0xA0;
    return with;
  });
}

std::optional<std::u32string> decode_utf8_bytes(std::u32string_view bytes) {
  return decode_utf8_strictly(std::string(bytes.begin(), bytes.end()));
}

// UTF-8 in which 0xC0 0x80 is U+0000, as Java writes it, and two surrogates of three bytes each are one character.
std::optional<std::u32string> decode_utf8_variants(std::u32string_view bytes) {
  static const Pattern null(U"\u00C0\u0080");
  static const Pattern pair(U"\u00ED[\u00A0-\u00AF][\u0080-\u00BF]\u00ED[\u00B0-\u00BF][\u0080-\u00BF]");
  std::u32string out;
  size_t begin = 0;
  for (size_t i = 0; i <= bytes.size(); ++i) {
    const bool is_null = i < bytes.size() && null.match(bytes, i) != Pattern::kNone;
    const bool is_pair = i < bytes.size() && pair.match(bytes, i) != Pattern::kNone;
    if (i < bytes.size() && !is_null && !is_pair) continue;
    const auto before = decode_utf8_bytes(bytes.substr(begin, i - begin));
    if (!before) return std::nullopt;
    out += *before;
    if (i == bytes.size()) break;
    if (is_pair) {
      const auto bits = [&](size_t k, char32_t mask) { return bytes[i + k] & mask; };
      out += 0x10000 + (bits(1, 0xF) << 16 | bits(2, 0x3F) << 10 | bits(4, 0xF) << 6 | bits(5, 0x3F));
    } else {
      out += U'\0';
    }
    i += is_pair ? 5 : 1;
    begin = i + 1;
  }
  return out;
}

// ---- fix_encoding ---------------------------------------------------------------------------------------------------
// Letters that stand for the first byte of a character of 2, 3 and 4 in some encoding; those of the bytes behind it,
// a space among them; and those of them that hardly stand for themselves beside mojibake.
constexpr std::u32string_view kFirstOf2 =
    U"[ÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖ×ØÙÚÛÜÝÞßĂĆČĎĐĘĚĞİĹŃŇŐŘŞŢŮŰΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩΪΫάέήίВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯ]";
constexpr std::u32string_view kFirstOf3 = U"[àáâãäåæçèéêëìíîïăćčďęěĺŕΰαβγδεζηθικλμνξοабвгдежзийклмноп]";
constexpr std::u32string_view kFirstOf4 = U"[ðóđğπσру]";
constexpr std::u32string_view kStrict =
    U"\u0080-\u00BFĄąĽľŁłŒœŚśŞşŠšŤťŸŹźŻżŽžƒˆˇ˘˛˜˝\u0384\u0385"
    U"ΆΈΉΊΌΎΏЁЂЃЄЅІЇЈЉЊЋЌЎЏёђѓєѕіїјљњћќўџҐґ"
    U"†‡•‰‹›€№™";

// A stretch of text that looks like UTF-8 in another encoding is mended by itself, if it is bad.
std::u32string decode_inconsistent_utf8(std::u32string_view text) {
  static const std::u32string strict = U"[" + std::u32string(kStrict) + U"]";
  static const std::u32string next = U"[" + std::u32string(kStrict) + U"–—―‘’‚“”„… ]";
  static const Pattern before(strict);
  static const Pattern character(std::u32string(kFirstOf2) + next + U"|" + std::u32string(kFirstOf3) + next + next +
                                 U"|" + std::u32string(kFirstOf4) + next + next + next);
  std::u32string out;
  for (size_t i = 0; i < text.size();) {
    size_t end = i;
    if (i == 0 || before.match(text, i - 1) == Pattern::kNone)
      for (size_t n; end < text.size() && (n = character.match(text, end)) != Pattern::kNone;) end += n;
    if (end == i) {
      out += text[i++];
      continue;
    }
    const std::u32string_view part = text.substr(i, end - i);
    out += part.size() < text.size() && is_bad(part) ? fix_encoding(part) : std::u32string(part);
    i = end;
  }
  return out;
}

std::optional<std::u32string> decode(std::u32string_view bytes, bool sloppy) {
  static const Pattern lossy(kLossyUtf8);
  std::u32string mended = restore_byte_a0(bytes);
  if (sloppy) mended = lossy.replace(mended, [](std::u32string_view) { return U"\u00EF\u00BF\u00BD"; });
  const bool variants = mended.find_first_of(U"\u00ED\u00C0") != mended.npos;
  return variants ? decode_utf8_variants(mended) : decode_utf8_bytes(mended);
}

std::u32string fix_encoding_once(std::u32string_view text) {
  if (!is_bad(text)) return std::u32string(text);
  for (const Charmap map :
       {Charmap::latin1, Charmap::windows1252, Charmap::windows1251, Charmap::windows1250, Charmap::windows1253,
        Charmap::windows1254, Charmap::latin2, Charmap::mac_roman, Charmap::cp437}) {
    if (const auto bytes = encode(map, text))
      if (const auto fixed = decode(*bytes, is_sloppy(map))) return *fixed;
  }
  if (const std::u32string fixed = decode_inconsistent_utf8(text); fixed != text) return fixed;
  return fix_c1_controls(text);
}

}  // namespace

std::u32string fix_encoding(std::u32string_view text) {
  std::u32string before, fixed(text);
  do {
    before = fixed;
    fixed = fix_encoding_once(before);
  } while (fixed != before);
  return fixed;
}

}  // namespace uvic::text
