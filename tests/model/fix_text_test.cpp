// Cleaning of text against ftfy 6.1.1 and Python's html.

#include "model/text/fix_text.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "model/text/charmap.h"
#include "model/text/html.h"
#include "model/text/pattern.h"
#include "model/text/unicode.h"
#include "tests/check.h"

namespace uvic::text::test {
namespace {

std::string fixed(const std::string& s) { return encode_utf8(fix_text(decode_utf8(s))); }

TEST(FixTextTest, RandomStrings) {
  const auto path = std::filesystem::path(UVIC_SOURCE_DIR) / "tests" / "data" / "text" / "strings.json";
  const nlohmann::json strings = nlohmann::json::parse(std::ifstream(path));
  ASSERT_GT(strings.size(), 200u);
  int changed = 0;
  for (const auto& s : strings) {
    EXPECT_EQ(fixed(s["text"]), s["fixed"].get<std::string>()) << s["text"];
    changed += s["text"] != s["fixed"];
  }
  EXPECT_GT(changed, 100);
}

// The examples of ftfy's own documentation.
TEST(FixTextTest, Documented) {
  EXPECT_EQ(fixed("âœ” No problems"), "✔ No problems");
  EXPECT_EQ(fixed("&macr;\\_(ã\u0083\u0084)_/&macr;"), "¯\\_(ツ)_/¯");
  EXPECT_EQ(fixed("Broken text&hellip; it&#x2019;s ﬂubberiﬁc!"), "Broken text… it's flubberific!");
  EXPECT_EQ(fixed("ＬＯＵＤ　ＮＯＩＳＥＳ"), "LOUD NOISES");
  EXPECT_EQ(fixed("voilÃ le travail"), "voilà le travail");
  EXPECT_EQ(fixed("â€œ like this â€�"), "\" like this �");
  EXPECT_EQ(fixed("\033[36;44mI'm blue, da ba dee da ba doo...\033[0m"), "I'm blue, da ba dee da ba doo...");
  EXPECT_EQ(fixed("a\r\nb\rc\u2028d\u0085e"), "a\nb\nc\nd…e");
  EXPECT_EQ(fixed("<b>&amp;</b>\n&amp;"), "<b>&amp;</b>\n&amp;");  // HTML, from that line on
  EXPECT_EQ(fixed("&amp;\n<b>"), "&\n<b>");
}

TEST(HtmlTest, AsPython) {
  const auto all = [](const std::u32string& s) { return encode_utf8(unescape_html(s)); };
  EXPECT_EQ(all(U"fish &amp chips&notit; &notanentity &copy; &#233 &#xE9; &#128; &#0; &#xD800; &#9999999999; &#1;."),
            "fish & chips¬it; ¬anentity © é é € � � � .");
  EXPECT_EQ(all(U"&; &# &#x; &a &NotEqualTilde;&"), "&; &# &#x; &a \u2242\u0338&");
}

TEST(HtmlTest, AsFtfy) {
  const auto some = [](const std::u32string& s) { return encode_utf8(unescape_entities(s)); };
  EXPECT_EQ(some(U"&ntilde; &Ntilde; &NTILDE; &nTILDE; &SZLIG; &amp &#59; &#x; &#65 &#65;"),
            "ñ Ñ Ñ &nTILDE; SS &amp &#59; &#x; &#65 A");
}

TEST(PatternTest, AlternativesInOrder) {
  const Pattern p(U"[a-c]x|\\s\\w?|^y|[^a-z].");
  EXPECT_EQ(p.match(U"bx", 0), 2u);
  EXPECT_EQ(p.match(U"dx", 0), Pattern::kNone);
  EXPECT_EQ(p.match(U" é", 0), 2u);
  EXPECT_EQ(p.match(U" -", 0), 1u);
  EXPECT_EQ(p.match(U"y", 0), 1u);
  EXPECT_EQ(p.match(U"ay", 1), Pattern::kNone);
  EXPECT_EQ(p.match(U"-\n", 0), Pattern::kNone);
  EXPECT_EQ(Pattern(U"a?a").match(U"a", 0), 1u);  // the optional one is given back
  EXPECT_EQ(p.replace(U"axbxd!", [](std::u32string_view m) { return m.size() == 2 ? U"<>" : U"?"; }), U"<><>d!");
}

TEST(CharmapTest, ThereAndBack) {
  for (int m = 0; m <= static_cast<int>(Charmap::cp437); ++m) {
    const auto map = static_cast<Charmap>(m);
    std::u32string text;
    for (const char16_t c : charmap(map)) text += c;
    ASSERT_EQ(text.size(), 128u);
    const auto bytes = encode(map, text);
    ASSERT_TRUE(bytes) << m;
    for (size_t i = 0; i < 128; ++i) EXPECT_EQ((*bytes)[i], 128 + i) << m;
    EXPECT_FALSE(encode(map, U"\u4E00")) << m;
    EXPECT_EQ(encode(map, U"\uFFFD").has_value(), is_sloppy(map)) << m;
  }
}

}  // namespace
}  // namespace uvic::text::test
