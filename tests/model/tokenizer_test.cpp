// CLIP's tokenizer against HuggingFace's and OpenAI's, on every string of the golden data and on random ones.

#include "model/tokenizer.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "kernels/core/error.h"
#include "model/io/safetensors.h"
#include "tests/check.h"

namespace uvic::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

json read(const fs::path& path) { return json::parse(std::ifstream(path)); }

const Tokenizer& clip() {
  static const Tokenizer t = Tokenizer::load(fs::path(UVIC_SOURCE_DIR) / "assets" / "clip");
  return t;
}

TEST(TokenizerTest, GoldenStrings) {
  const fs::path folder = reference_dir("eval") / "clip";
  const json strings = read(folder / "tokens.json");
  const SafetensorsFile file(folder / "tokens.safetensors");
  ASSERT_GT(strings.size(), 100u);
  for (const auto& [name, style] :
       {std::pair("hf_ids", Tokenizer::Style::huggingface), {"openai_ids", Tokenizer::Style::openai}}) {
    const Tensor want = file.tensor(name);
    ASSERT_EQ(want.dim(0), static_cast<int64_t>(strings.size()));
    for (int64_t i = 0; i < want.dim(0); ++i) {
      const json& s = strings[static_cast<size_t>(i)];
      const Tokenizer::Tokens got = clip().encode(s["text"].get<std::string>(), want.dim(1), style);
      const int32_t* ids = want.rows(i, i + 1).data<int32_t>();
      EXPECT_EQ(got.ids, std::vector<int32_t>(ids, ids + want.dim(1))) << name << ' ' << s["text"];
      const bool hf = style == Tokenizer::Style::huggingface;
      EXPECT_EQ(got.used, s[hf ? "hf_used" : "used"].get<int64_t>()) << s["text"];
      if (!hf) {
        EXPECT_EQ(got.cut.empty(), s["count"].get<int64_t>() <= want.dim(1)) << s["text"];
      }
    }
  }
}

// Drawn at random from scripts, marks, controls, entities, mojibake and what the rules below are made of.
TEST(TokenizerTest, RandomStrings) {
  const json strings = read(fs::path(UVIC_SOURCE_DIR) / "tests" / "data" / "text" / "strings.json");
  ASSERT_GT(strings.size(), 200u);
  for (const json& s : strings) {
    const std::string text = s["text"];
    EXPECT_EQ(clip().tokens_of(text), s["hf"].get<std::vector<int32_t>>()) << s["text"];
    EXPECT_EQ(clip().tokens_of(text, Tokenizer::Style::openai), s["openai"].get<std::vector<int32_t>>()) << s["text"];
  }
}

// Corners of the published pattern, checked against the regex package.
TEST(TokenizerTest, CornersOfThePattern) {
  const auto same = [](const std::string& a, const std::string& b) {
    EXPECT_EQ(clip().tokens_of(a), clip().tokens_of(b));
  };
  same("a\u0345b *\u0345* \u0345", "a b * *");                                  // a mark that is in no class
  EXPECT_EQ(clip().tokens_of("'\u017F"), (std::vector<int32_t>{6, 129, 379}));  // a long s folds to s: one word
  same("IT'S", "it's");
  EXPECT_NE(clip().tokens_of("it's"), clip().tokens_of("it ' s"));
  same("12\u00BD", "1 2 \u00BD");
  same("<|ENDOFTEXT|>", "<|endoftext|>");
}

TEST(TokenizerTest, SaysWhatWasCut) {
  std::string prompt = "a";
  for (int i = 0; i < 74; ++i) prompt += " cat";
  EXPECT_EQ(clip().encode(prompt).cut, "");
  EXPECT_EQ(clip().encode(prompt + "!").cut, "!");
  const Tokenizer::Tokens t = clip().encode(prompt + " on The  Mat, \xF0\x9F\x98\x80");
  EXPECT_EQ(t.cut, "on the mat , \xF0\x9F\x98\x80");
  EXPECT_EQ(t.used, 77);
  EXPECT_EQ(t.ids.size(), 77u);
  EXPECT_EQ(t.ids.back(), clip().end());
  EXPECT_EQ(clip().encode("one two three", 4).cut, "three");
  EXPECT_EQ(error_of([] { clip().encode("one", 1); }), "tokenizer: a length of 1 has no room for start and end");
}

TEST(TokenizerTest, TextOfTokens) {
  EXPECT_EQ(clip().decode(clip().tokens_of("A photo of the caf\u00E9, don't ask")),
            "a photo of the caf\u00E9 , don 't ask");
  const std::vector<int32_t> half{clip().tokens_of("\U0001FAE8").front()};  // part of a character
  EXPECT_EQ(clip().decode(half), "\uFFFD");
  EXPECT_EQ(error_of([] { clip().decode(std::vector<int32_t>{49408}); }), "tokenizer: no token has the id 49408");
}

// What Python would refuse to decode is replaced as its errors="replace" does.
TEST(TokenizerTest, BytesThatAreNoText) {
  const auto same = [](const std::string& bytes, const std::string& text) {
    EXPECT_EQ(clip().tokens_of(bytes), clip().tokens_of(text)) << text;
  };
  same("a\xFFz", "a\uFFFDz");
  same("a\xE2\x82z", "a\uFFFDz");                  // a character cut short is one
  same("a\xED\xA0\x80z", "a\uFFFD\uFFFD\uFFFDz");  // a surrogate is none
  same("\xC0\xAF", "\uFFFD\uFFFD");                // overlong
  same("\xF4\x90\x80\x80", "\uFFFD\uFFFD\uFFFD\uFFFD");
  same(std::string("a\0z", 3), "az");
}

// A word of any length takes n log n: this one took minutes by the published loop.
TEST(TokenizerTest, VeryLongWords) {
  const std::string word(300'000, 'a');
  const auto ids = clip().tokens_of(word);
  EXPECT_EQ(clip().decode(ids), word);
  std::string mixed;
  for (int64_t i = 0; i < 50'000; ++i) mixed += static_cast<char>('a' + i * i % 26);
  EXPECT_EQ(clip().decode(clip().tokens_of(mixed)), mixed);
}

}  // namespace
}  // namespace uvic::test
