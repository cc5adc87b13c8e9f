// The four forms of a vocabulary's files, and what is said of broken ones.

#include "model/vocabulary.h"

#include <zlib.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "model/io/gzip.h"
#include "model/tokenizer.h"
#include "tests/check.h"

namespace uvic::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const fs::path kAsset = fs::path(UVIC_SOURCE_DIR) / "assets" / "clip" / "bpe_simple_vocab_16e6.txt.gz";

// An empty folder of its own for each test.
fs::path fresh_folder() {
  const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
  const fs::path folder = fs::path(::testing::TempDir()) / concat(test->test_suite_name(), ".", test->name());
  fs::remove_all(folder);
  fs::create_directories(folder);
  return folder;
}

fs::path write(const fs::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
  return path;
}

std::string merges_text(const Vocabulary& v) {
  std::string text = "#version: 0.2\n";
  for (const auto& [left, right] : v.merges) text += left + ' ' + right + '\n';
  return text;
}

// Two merges, with every byte.
Vocabulary small() {
  const fs::path path = write(fs::path(::testing::TempDir()) / "small_merges.txt", "#version: 0.2\na b\nab c</w>\n");
  return read_vocabulary(path);
}

TEST(VocabularyTest, ClipsOwn) {
  const Vocabulary v = read_vocabulary(kAsset);
  const json want = json::parse(std::ifstream(reference_dir("eval") / "clip" / "vocab_check.json"));
  EXPECT_EQ(v.ids.size(), want["size"].get<size_t>());
  EXPECT_EQ(v.merges.size(), want["merges"].get<size_t>());
  for (const char* list : {"first_bytes_tokens", "ids"})
    for (const auto& [symbol, id] : want[list].items()) EXPECT_EQ(v.ids.at(symbol), id) << symbol;
  for (size_t i = 0; i < want["first_merges"].size(); ++i) {
    EXPECT_EQ(v.merges[i].first, want["first_merges"][i][0]);
    EXPECT_EQ(v.merges[i].second, want["first_merges"][i][1]);
  }
  EXPECT_EQ(v.merges.back().first, want["last_merge"][0]);
  EXPECT_EQ(v.merges.back().second, want["last_merge"][1]);
}

// The same vocabulary in each form that HuggingFace has had spells alike.
TEST(VocabularyTest, EveryForm) {
  const Vocabulary v = read_vocabulary(kAsset);
  const fs::path folder = fresh_folder();
  for (const char* name : {"plain", "pair", "one", "one_of_pairs"}) fs::create_directories(folder / name);
  write(folder / "plain" / "merges.txt", merges_text(v));
  write(folder / "pair" / "merges.txt", merges_text(v));
  write(folder / "pair" / "vocab.json", json(v.ids).dump());
  json model{{"type", "BPE"}, {"vocab", v.ids}, {"merges", json::array()}};
  for (const char* special : {Vocabulary::kStart, Vocabulary::kEnd}) model["vocab"].erase(special);
  json pairs = model;
  for (const auto& [left, right] : v.merges) {
    model["merges"].push_back(left + ' ' + right);
    pairs["merges"].push_back({left, right});
  }
  const json added{{{"id", 49406}, {"content", Vocabulary::kStart}}, {{"id", 49407}, {"content", Vocabulary::kEnd}}};
  write(folder / "one" / "tokenizer.json", json{{"model", model}, {"added_tokens", added}}.dump());
  write(folder / "one_of_pairs" / "tokenizer.json", json{{"model", pairs}, {"added_tokens", added}}.dump());
  const std::string prompt = "A caf\u00E9 in T\u014Dky\u014D, 1999 <|endoftext|>";
  const auto want = Tokenizer::load(kAsset).encode(prompt).ids;
  for (const char* form : {"plain", "plain/merges.txt", "pair", "pair/vocab.json", "one", "one_of_pairs"})
    EXPECT_EQ(Tokenizer::load(folder / form).encode(prompt).ids, want) << form;
}

TEST(VocabularyTest, SaysWhatIsWrong) {
  const fs::path folder = fresh_folder();
  const auto error = [&](const std::string& name, const std::string& text) {
    const fs::path path = write(folder / name, text);
    const std::string what = error_of([&] { read_vocabulary(path); });
    EXPECT_EQ(what.find(folder.string()), 0u) << what;
    return what.substr(std::min(what.size(), folder.string().size() + 1));
  };
  EXPECT_EQ(error("a.txt", ""), "a.txt: no merges, lines of two symbols, in it");
  EXPECT_EQ(error("a.txt", "#version: 0.2\na b\nabc\n"),
            "a.txt: line 3 is \"abc\", not two symbols with a space between");
  EXPECT_EQ(error("a.txt", "#version: 0.2\nab c\n"), "a.txt: the vocabulary has no \"ab\"");
  EXPECT_EQ(error("a.json", "{"), "a.json: not a JSON object");
  EXPECT_EQ(error("a.json", "{}"), "a.json: no byte-pair model with vocab and merges in it");
  EXPECT_EQ(error("a.json", R"({"model": {"vocab": {"a": -1}, "merges": []}})"),
            "a.json: vocab: the id of \"a\" is -1, wanted a small whole number");
  EXPECT_EQ(error("a.json", R"({"model": {"vocab": {}, "merges": [1]}})"), "a.json: merge 0 is 1, not two symbols");
  json ids = small().ids;
  ids["!"] = 1;
  write(folder / "vocab.json", ids.dump());
  EXPECT_NE(error("merges.txt", "a b\n").find("merges.txt: two symbols have the id 1, one is "), std::string::npos);
  EXPECT_EQ(error_of([&] { read_vocabulary(folder / "none"); }),
            (folder / "none").string() + ": no such file or folder");
  fs::create_directories(folder / "empty");
  EXPECT_EQ(error_of([&] { read_vocabulary(folder / "empty"); }),
            (folder / "empty").string() + ": no tokenizer in this folder");
}

// Bytes changed, cut and added: an Error or a vocabulary, never anything else.
TEST(VocabularyTest, DamagedFiles) {
  const fs::path folder = fresh_folder();
  const Vocabulary v = small();
  const json model{{"model", {{"vocab", v.ids}, {"merges", {"a b", "ab c</w>"}}}}};
  const std::string packed = [] {
    std::ifstream in(kAsset, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {}).substr(0, 4000);
  }();
  int errors = 0;
  for (const auto& [name, text] : {std::pair<std::string, std::string>{"tokenizer.json", model.dump()},
                                   {"merges.txt", merges_text(v)},
                                   {"vocab.gz", packed}}) {
    for (uint64_t seed = 0; seed < 200; ++seed) {
      std::string bytes = text;
      const auto draw = values(random_tensor(DType::f64, {4}, seed).tensor);
      const auto at = static_cast<size_t>((draw[0] + 1) / 2 * static_cast<double>(bytes.size() - 1));
      if (seed % 3 == 0) bytes.resize(at);
      if (seed % 3 == 1) bytes[at] = static_cast<char>(draw[1] * 127);
      if (seed % 3 == 2) bytes.erase(at, 1 + seed % 7);
      const fs::path path = write(folder / name, bytes);
      try {
        read_vocabulary(path);
      } catch (const Error& e) {
        ++errors;
        EXPECT_EQ(std::string(e.what()).find(path.string()), 0u) << e.what();
        EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos) << e.what();
      }
    }
  }
  EXPECT_GT(errors, 200);
}

TEST(GzipTest, PackedOrNot) {
  const fs::path folder = fresh_folder();
  std::string text;
  for (int i = 0; i < 300'000; ++i) text += concat(i % 977, ' ');
  const fs::path plain = write(folder / "plain", text), packed = folder / "packed";
  gzFile out = gzopen(packed.c_str(), "wb");
  ASSERT_EQ(gzwrite(out, text.data(), static_cast<unsigned>(text.size())), static_cast<int>(text.size()));
  gzclose(out);
  EXPECT_EQ(read_maybe_gzip(plain, text.size()), text);
  EXPECT_EQ(read_maybe_gzip(packed, text.size()), text);
  for (const fs::path& path : {plain, packed})
    EXPECT_EQ(
        error_of([&] { read_maybe_gzip(path, text.size() - 1); }),
        concat(path.string(), ": more than ", text.size() - 1, " bytes, which is too large for what it should be"));
  fs::resize_file(packed, fs::file_size(packed) / 2);
  EXPECT_EQ(error_of([&] { read_maybe_gzip(packed, text.size()); }),
            packed.string() + ": damaged or cut short: the gzip ends too early");
}

}  // namespace
}  // namespace uvic::test
