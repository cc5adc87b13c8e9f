// Where a text tower and its vocabulary are looked for, and files of captions.

#include "app/text_tower.h"

#include "app/captions.h"
#include "tests/app/text_fixtures.h"

namespace uvic::test {
namespace {

namespace fs = std::filesystem;

class TextTowerTest : public FolderTest {
 protected:
  // The tower of a model at path, as uvic-sample finds it.
  static fs::path found(const fs::path& model, const std::string& recorded = "", const fs::path& given = {}) {
    Context ctx({.threads = 1});
    return TextTower(ctx, {.weights = find_text_encoder(given, model, recorded), .tokenizer = {}, .warn = {}})
        .weights();
  }
};

TEST_F(TextTowerTest, FoundBesideTheModelOrByItsMetadata) {
  const fs::path model = dir_ / "model.safetensors";
  write_text(model, "");
  const std::string nothing = error_of([&] { found(model); });
  EXPECT_NE(nothing.find(concat("model.safetensors: its text encoder is missing; looked in ", dir_.string(),
                                " for text_encoder/, ")),
            std::string::npos)
      << nothing;
  EXPECT_NE(nothing.find("clip_text.safetensors"), std::string::npos) << nothing;
  const fs::path single = write_tower(dir_, {}, "clip_text.safetensors");
  EXPECT_EQ(found(model), single);
  const fs::path diffusers = write_tower(dir_ / "text_encoder");
  EXPECT_EQ(found(model), diffusers);
  const fs::path elsewhere = write_tower(dir_ / "elsewhere");
  EXPECT_EQ(found(model, "elsewhere"), elsewhere);
  EXPECT_EQ(found(model, "elsewhere/model.safetensors"), elsewhere);
  EXPECT_EQ(found(model, "elsewhere", single), single);
  fs::create_directories(dir_ / "empty");
  EXPECT_EQ(error_of([&] { found(model, "", dir_ / "empty"); }),
            (dir_ / "empty").string() + ": no text encoder in this folder");
}

TEST_F(TextTowerTest, VocabularyBesideTheWeightsBeforeOurOwn) {
  const auto tokenizer_of = [](const fs::path& weights, const fs::path& given = {}) {
    Context ctx({.threads = 1});
    return TextTower(ctx, {.weights = weights, .tokenizer = given, .warn = {}}).tokenizer();
  };
  const fs::path weights = write_tower(dir_ / "text_encoder");
  EXPECT_EQ(tokenizer_of(weights).filename(), "bpe_simple_vocab_16e6.txt.gz");  // uvic's
  const std::string merges = "#version: 0.2\na b\n";
  write_text(dir_ / "tokenizer" / "merges.txt", merges);
  EXPECT_EQ(tokenizer_of(weights), dir_ / "tokenizer" / "merges.txt");
  write_text(dir_ / "text_encoder" / "merges.txt", merges);
  EXPECT_EQ(tokenizer_of(weights), dir_ / "text_encoder" / "merges.txt");
  EXPECT_EQ(tokenizer_of(weights, dir_ / "tokenizer"), dir_ / "tokenizer" / "merges.txt");
  const fs::path narrow = write_tower(dir_ / "narrow", {.vocabulary = 100});
  const std::string error = error_of([&] { tokenizer_of(narrow); });
  EXPECT_NE(error.find("narrow/model.safetensors: embeds 100 tokens, but "), std::string::npos) << error;
  EXPECT_NE(error.find("has 49408"), std::string::npos) << error;
}

TEST_F(TextTowerTest, NamesWhatIsCut) {
  std::vector<std::string> lines;
  Context ctx({.threads = 1});
  const TextTower tower(ctx, {.weights = write_tower(dir_), .tokenizer = {}, .warn = [&](const std::string& line) {
                                lines.push_back(line);
                              }});
  const std::vector<std::string> texts{"one two", "one two three four five six seven eight nine ten and more"};
  const OwnedTensor out({}, DType::f32, {2, 12, 8});
  tower.embed(ctx, texts, out.tensor);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(
      lines[0],
      "a text takes more than 12 tokens and is cut: \"one two three four five six seven eight nine ten and more\" "
      "loses \"and more\"");
}

TEST_F(TextTowerTest, CaptionsOfLines) {
  const auto read = [&](const std::string& name, const std::string& text) {
    write_text(dir_ / name, text);
    std::string all;
    for (const Captions& c : read_captions(dir_ / name)) {
      all += "[" + c.image + ":";
      for (const std::string& t : c.texts) all += " <" + t + ">";
      all += "]";
    }
    return all;
  };
  EXPECT_EQ(read("a.txt", "a cat\r\n\n a dog \n"), "[: <a cat>][: <>][: < a dog >]");
  EXPECT_EQ(read("a.txt", "x/1.jpg#0\ta cat\n2.jpg\ta dog\nx/1.jpg#1\tone cat"),
            "[x/1.jpg: <a cat> <one cat>][2.jpg: <a dog>]");
  EXPECT_EQ(read("a.jsonl", "\"a cat\"\n\n{\"prompt\": \"a \\u00e9\"}\n{\"captions\": [\"x\", \"y\"], \"id\": 3}\n"),
            "[: <a cat>][: <a \u00E9>][: <x> <y>]");
  EXPECT_EQ(read("a.jsonl", "{\"image\": \"1\", \"caption\": \"x\"}\n{\"file_name\": \"1\", \"text\": \"y\"}\n"),
            "[1: <x> <y>]");
  EXPECT_EQ(read("a.txt",
                 "\xEF\xBB\xBF"
                 "1.jpg\ta cat\r\n"),
            "[1.jpg: <a cat>]");
  EXPECT_EQ(read("a.json", "[\"a cat\", {\"caption\": \"a dog\"}]"), "[: <a cat>][: <a dog>]");
  EXPECT_EQ(
      read("a.json", R"({"info": {}, "images": [{"id": 30, "file_name": "c.jpg"}, {"id": 9, "file_name": "b.jpg"}],
                              "annotations": [{"image_id": 30, "id": 7, "caption": "x"}, {"image_id": 9, "caption": "y"},
                                              {"image_id": 30, "id": 2, "caption": "z"}]})"),
      "[b.jpg: <y>][c.jpg: <x> <z>]");
  read("a.jsonl", "\xEF\xBB\xBF{\"image\": \"1\", \"caption\": \"x\"}\n{\"file_name\": \"1\", \"text\": \"y\"}\n");
  EXPECT_EQ(read_prompts(dir_ / "a.jsonl"), (std::vector<std::string>{"x", "y"}));
}

TEST_F(TextTowerTest, WrongCaptionsAreOneLine) {
  const auto error = [&](const std::string& name, const std::string& text) {
    write_text(dir_ / name, text);
    return error_of([&] { read_captions(dir_ / name); }).substr(dir_.string().size() + 1);
  };
  EXPECT_EQ(error("a.txt", ""), "a.txt: no captions in it");
  EXPECT_EQ(error("a.txt", "1.jpg\tx\ny\n"), "a.txt:2: names no image, those before it do");
  EXPECT_EQ(error("a.jsonl", "\"x\"\n{\n"), "a.jsonl:2: not JSON, or not UTF-8");
  EXPECT_EQ(error("a.jsonl", "{\"words\": \"x\"}\n"), "a.jsonl:1: has none of caption, captions, prompt and text");
  EXPECT_EQ(error("a.jsonl", "{\"captions\": []}\n"), "a.jsonl:1: has no captions");
  EXPECT_EQ(error("a.jsonl", "{\"caption\": 3}\n"), "a.jsonl:1: a caption is 3, not a string");
  EXPECT_EQ(error("a.jsonl", "{\"image\": 3, \"caption\": \"x\"}\n"), "a.jsonl:1: the image's name is 3, not a string");
  EXPECT_EQ(error("a.txt", std::string("\xFF\xFE"
                                       "a\0",
                                       4)),
            "a.txt: is UTF-16; save it as UTF-8");
  EXPECT_EQ(error("a.json", "{\"caption\": \"x\"}\n{"), "a.json: not JSON, or cut short");
  EXPECT_EQ(error("a.json", "{\"caption\": \"x\"}"),
            "a.json: neither a JSON array of captions nor MS-COCO's images and annotations");
  EXPECT_EQ(error("a.json", "[\"x\", 3]"), "a.json: element 1: not a JSON object, nor a string");
  const auto coco = [&](const std::string& images, const std::string& annotations) {
    return error("a.json", concat("{\"images\": [", images, "], \"annotations\": [", annotations, "]}"));
  };
  EXPECT_EQ(coco("3", ""), "a.json: image 0: has no file_name");
  EXPECT_EQ(coco(R"({"file_name": "a"})", ""), "a.json: image 0: has no id");
  EXPECT_EQ(coco(R"({"file_name": "a", "id": 1})", R"({"image_id": 2, "caption": "x"})"),
            "a.json: annotation 0: is of image 2, which is not in images");
  EXPECT_EQ(coco(R"({"file_name": "a", "id": 1})", R"({"image_id": 1, "caption": 5})"),
            "a.json: annotation 0: has no caption");
  EXPECT_EQ(coco(R"({"file_name": "a", "id": 1})", ""), "a.json: image 1, a, has no captions");
  EXPECT_EQ(error_of([&] { read_captions(dir_); }), dir_.string() + ": no such file of captions");
}

}  // namespace
}  // namespace uvic::test
