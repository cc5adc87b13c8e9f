// Unicode's tables where their edges are, against Python 3.11.

#include "model/text/unicode.h"

#include "tests/check.h"

namespace uvic::text::test {
namespace {

TEST(Utf8Test, ThereAndBack) {
  const std::u32string all = U"\u0001\u007F\u0080\u07FF\u0800\uD7FF\uE000\uFFFF\U00010000\U0010FFFF";
  EXPECT_EQ(decode_utf8(encode_utf8(all)), all);
  EXPECT_EQ(decode_utf8_strictly(encode_utf8(all)), all);
  for (const std::string bad : {"\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xF0\x8F\xBF\xBF",
                                "\xF4\x90\x80\x80", "\xF5", "\xC3", "\xE2\x82", "\xF0\x9F\x98"})
    EXPECT_FALSE(decode_utf8_strictly("a" + bad)) << bad;
}

TEST(UnicodeTest, Classes) {
  for (const char32_t c : std::u32string_view(U"Aaª\u0149ʰא\u0E33中\uAC00\uD7A3\U00010400\U00031350"))
    EXPECT_TRUE(is_letter(c)) << static_cast<uint32_t>(c);
  for (const char32_t c : std::u32string_view(U"0²½٣Ⅷ〇\U0001D7FF"))
    EXPECT_TRUE(is_number(c)) << static_cast<uint32_t>(c);
  for (const char32_t c : std::u32string_view(U"_-\u0301\u200D\u20AC\U0001F600\uE000\U0010FFFF"))
    EXPECT_FALSE(is_letter(c) || is_number(c)) << static_cast<uint32_t>(c);
  for (const char32_t c : std::u32string_view(U"\t\n\u000B\u001C\u0085\u00A0\u1680\u2003\u2028\u202F\u205F\u3000"))
    EXPECT_TRUE(is_space(c)) << static_cast<uint32_t>(c);
  for (const char32_t c : std::u32string_view(U"\u200B\u2060\uFEFF\u180E"))
    EXPECT_FALSE(is_space(c)) << static_cast<uint32_t>(c);
}

TEST(UnicodeTest, LowerCase) {
  EXPECT_EQ(lower(U"ÀÉßŸǅǄKÅΩẞⅧⓀ\U00010400\U0001E900\u13A0\u10A0"), U"àéßÿǆǆkåωßⅷⓚ\U00010428\U0001E922\uAB70\u2D00");
  EXPECT_EQ(lower(U"İI"), U"i\u0307i");
  EXPECT_EQ(lower(U"ΟΔΥΣΣΕΥΣ ΣΑΣ. Σ ΑΣ'Β"),
            U"οδυσσευς σας. σ ασ'β");  // the last: letters go on behind what does not count
}

TEST(UnicodeTest, Composition) {
  EXPECT_EQ(normalize(U"e\u0301"), U"é");
  EXPECT_EQ(normalize(U"q\u0307\u0323"), U"q\u0323\u0307");  // in order of class
  EXPECT_EQ(normalize(U"d\u0307\u0323"), U"\u1E0D\u0307");   // past a mark of another class
  EXPECT_EQ(normalize(U"a\u0301\u0301"), U"\u00E1\u0301");
  EXPECT_EQ(normalize(U"\u1100\u1161\u11A8"), U"\uAC01");
  EXPECT_EQ(normalize(U"\uAC00\u11A7"), U"\uAC00\u11A7");              // one before the first tail
  EXPECT_EQ(normalize(U"\u212B\u2126\uF900"), U"\u00C5\u03A9\u8C48");  // single characters that are others
  EXPECT_EQ(normalize(U"\u0958\u2ADC\u0344"), U"\u0915\u093C\u2ADD\u0338\u0308\u0301");  // which stay apart
  EXPECT_EQ(normalize(U"\u0301e\u0301"), U"\u0301é");
}

}  // namespace
}  // namespace uvic::text::test
