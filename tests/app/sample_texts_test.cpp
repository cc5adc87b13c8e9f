// Prompts: what they become, which image has which, and what is refused.

#include "app/sample_texts.h"

#include "tests/app/program.h"
#include "tests/app/text_fixtures.h"
#include "tests/app/tiny_run.h"

namespace uvic::test {
namespace {

namespace fs = std::filesystem;

class SampleTextsTest : public FolderTest {
 protected:
  SampleRequest request(std::vector<uint64_t> seeds) {
    SampleRequest r;
    r.device = "cpu";
    r.model = model_;
    r.seeds = std::move(seeds);
    r.generator.sampler.steps = 3;
    r.tensor = dir_ / "t.safetensors";
    r.dtype = "f32";
    r.threads = 1;
    r.progress = Progress::Style::quiet;
    return r;
  }
  static std::vector<double> images(const SampleRequest& r) {
    sample_images(r);
    const SafetensorsFile result(r.tensor);
    return values(result.tensor("images"));
  }
  // The same images from a file of embeddings.
  std::vector<double> from_file(SampleRequest r, const std::vector<std::string>& texts, const std::string& null) {
    const OwnedTensor rows = embedded(tower_, texts), none = embedded(tower_, {null});
    write_safetensors(dir_ / "c.safetensors", {{"context", rows.tensor}, {"null", none.tensor}}, {});
    r.prompts.clear();
    r.prompts_file.clear();
    r.negative_prompt.reset();
    r.context = dir_ / "c.safetensors";
    return images(r);
  }
  fs::path model_ = write_random_model(dir_ / "model.safetensors", tiny_text_model());
  fs::path tower_ = write_tower(dir_ / "text_encoder");
};

TEST_F(SampleTextsTest, AreWhatTheirEmbeddingsAre) {
  SampleRequest r = request({1, 2, 3});
  r.prompts = {"a cat", "a dog"};
  r.batch = 2;
  EXPECT_EQ(images(r), from_file(r, {"a cat", "a dog", "a cat"}, ""));
  r.generator.guidance.scale = 2;
  const auto guided = images(r);
  EXPECT_EQ(guided, from_file(r, {"a cat", "a dog", "a cat"}, ""));
  r.negative_prompt = "a fish";
  const auto away = images(r);
  EXPECT_NE(away, guided);
  EXPECT_EQ(away, from_file(r, {"a cat", "a dog", "a cat"}, "a fish"));
  r.prompts = {};
  write_text(dir_ / "prompts.txt", "a cat\na dog\na cat\na cow\n");
  r.prompts_file = dir_ / "prompts.txt";
  EXPECT_EQ(images(r), away);
}

// More prompts than are embedded ahead.
TEST_F(SampleTextsTest, ManyPrompts) {
  SampleRequest r = request({});
  std::string lines;
  for (int i = 0; i < 300; ++i) lines += concat("number ", i, '\n');
  write_text(dir_ / "prompts.txt", lines);
  r.prompts_file = dir_ / "prompts.txt";
  r.generator.sampler.steps = 1;
  for (uint64_t i = 0; i < 260; ++i) r.seeds.push_back(i);
  r.batch = 64;
  const auto all = images(r);
  r.prompts_file.clear();
  r.prompts = {"number 259"};
  r.seeds = {259};
  const auto last = images(r);
  EXPECT_LE(relative_max({all.end() - static_cast<std::ptrdiff_t>(last.size()), all.end()}, last), 1e-5);
}

TEST_F(SampleTextsTest, ThePngSaysItsPrompt) {
  const Ended done =
      run_program("uvic-sample", {"-m", model_, "-p", "a caf\u00E9", "-p", "a dog", "--steps", "2", "--cfg-scale", "2",
                                  "--negative-prompt", "blur", "-o", dir_ / "out", "--threads", "1", "-q"});
  ASSERT_EQ(done.status, 0) << done.err;
  const auto parameters = [&](const char* png) {
    const auto info = inspect_png(dir_ / "out" / png);
    return info ? nlohmann::json::parse(info->parameters) : nlohmann::json();
  };
  EXPECT_EQ(parameters("000000.png")["prompt"], "a caf\u00E9");
  EXPECT_EQ(parameters("000001.png")["prompt"], "a dog");
  EXPECT_EQ(parameters("000001.png")["negative_prompt"], "blur");
  EXPECT_FALSE(fs::exists(dir_ / "out" / "000002.png"));  // one an image, where -n is not given
}

TEST_F(SampleTextsTest, SaysWhatDoesNotFit) {
  const auto error = [&](const std::function<void(SampleRequest&)>& change) {
    SampleRequest r = request({1, 2});
    r.prompts = {"a cat"};
    change(r);
    return error_of([&] { sample_images(r); });
  };
  EXPECT_NE(error([&](SampleRequest& r) { r.context = tower_; }).find("--context and --prompt both"),
            std::string::npos);
  EXPECT_NE(
      error([](SampleRequest& r) { r.negative_prompt = "x"; }).find("--negative-prompt is the unconditional side"),
      std::string::npos);
  EXPECT_NE(error([&](SampleRequest& r) {
              r.negative_prompt = "x", r.negative_context = tower_;
            }).find("both say what to guide away from"),
            std::string::npos);
  EXPECT_NE(error([&](SampleRequest& r) {
              r.text_encoder = write_tower(dir_ / "wide", {.width = 10});
            }).find("wide/model.safetensors: makes [12, 10] of a text, "),
            std::string::npos);
  EXPECT_NE(error([&](SampleRequest& r) {
              r.model = write_random_model(dir_ / "classes.safetensors", tiny_model(), {"cat", "dog", "eel"});
            }).find("--prompt: this model takes no text"),
            std::string::npos);
  fs::remove_all(dir_ / "text_encoder");
  const std::string missing = error([](SampleRequest&) {});
  EXPECT_NE(missing.find("model.safetensors: its text encoder is missing; looked in "), std::string::npos) << missing;
}

}  // namespace
}  // namespace uvic::test
