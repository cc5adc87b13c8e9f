// sample_images(): classes, contexts and noise from files, images kept from earlier runs.

#include "app/sample_run.h"

#include <algorithm>

#include "app/loaded_model.h"
#include "model/io/safetensors.h"
#include "tests/app/tiny_run.h"

namespace uvic::test {
namespace {

namespace fs = std::filesystem;

class SampleRunTest : public FolderTest {
 protected:
  SampleRequest request(std::vector<uint64_t> seeds) {
    SampleRequest r;
    r.model = model_;
    r.seeds = std::move(seeds);
    r.generator.sampler.steps = 3;
    r.out = dir_ / "out";
    r.dtype = "f32";
    r.threads = 1;
    r.progress = Progress::Style::quiet;
    return r;
  }
  fs::path model_ = write_random_model(dir_ / "model.safetensors", tiny_model(), {"cat", "dog", "eel"});
};

TEST_F(SampleRunTest, ClassesInTurnByNameByNumberAndAtRandom) {
  const auto classes_of = [&](const std::string& classes) {
    SampleRequest r = request({1, 2, 3, 4});
    r.classes = classes;
    r.out = dir_ / ("out-" + classes);
    sample_images(r);
    std::vector<int> found;
    for (const uint64_t seed : r.seeds) {
      const auto info = inspect_png(r.out / concat("00000", seed, ".png"));
      found.push_back(info ? nlohmann::json::parse(info->parameters)["class"].get<int>() : -1);
    }
    return found;
  };
  EXPECT_EQ(classes_of("all"), (std::vector<int>{0, 1, 2, 0}));
  EXPECT_EQ(classes_of("eel"), (std::vector<int>{2, 2, 2, 2}));
  EXPECT_EQ(classes_of("1"), (std::vector<int>{1, 1, 1, 1}));
  const std::vector<int> random = classes_of("random");
  EXPECT_GE(*std::min_element(random.begin(), random.end()), 0);
  EXPECT_LE(*std::max_element(random.begin(), random.end()), 2);
}

TEST_F(SampleRunTest, GivenNoiseReplacesTheSeeds) {
  Context ctx;
  const std::vector<uint64_t> seeds{20, 21, 22};
  Tensor noise = ctx.empty(DType::f32, {3, 3, 8, 8});
  initial_noise(ctx, seeds, noise);
  write_safetensors(dir_ / "noise.safetensors", {{"x_T", noise}}, {});
  SampleRequest r = request(seeds);
  r.out.clear();
  r.tensor = dir_ / "want.safetensors";
  sample_images(r);
  r.seeds = {0, 1, 2};
  r.init_noise = dir_ / "noise.safetensors";
  r.tensor = dir_ / "got.safetensors";
  r.batch = 2;
  sample_images(r);
  const SafetensorsFile got(dir_ / "got.safetensors"), want(dir_ / "want.safetensors");
  EXPECT_LE(relative_max(values(got.tensor("images")), values(want.tensor("images"))), 1e-4);
  r.seeds = {0, 1};
  EXPECT_NE(error_of([&] { sample_images(r); }).find("x_T is [3, 3, 8, 8], [2, 3, 8, 8] is needed"), std::string::npos);
}

TEST_F(SampleRunTest, TextModelsTakeTheirContextsFromAFile) {
  UViCConfig config = tiny_model();
  config.num_classes = -1;
  config.null_class = false;
  config.num_clip_token = 3;
  config.clip_dim = 5;
  model_ = write_random_model(dir_ / "text.safetensors", config);
  const auto rows = random_tensor(DType::f32, {2, 3, 5}, 1, 3), null_row = random_tensor(DType::f32, {3, 5}, 2);
  write_safetensors(dir_ / "two.safetensors", {{"context", rows.tensor}, {"null", null_row.tensor}}, {});
  write_safetensors(dir_ / "second.safetensors", {{"context", rows.tensor.rows(1, 2)}}, {});
  SampleRequest r = request({1, 2});
  r.out.clear();
  const auto images = [&](const char* file, double cfg_scale) {
    r.context = dir_ / file;
    r.generator.cfg_scale = cfg_scale;
    r.tensor = dir_ / "t.safetensors";
    sample_images(r);
    const SafetensorsFile result(r.tensor);
    return values(result.tensor("images"));
  };
  const auto two = images("two.safetensors", 1), second = images("second.safetensors", 1);
  const auto half = static_cast<std::ptrdiff_t>(two.size() / 2);
  EXPECT_LE(relative_max({two.begin() + half, two.end()}, {second.begin() + half, second.end()}), 1e-4);
  EXPECT_GT(relative_max({two.begin(), two.begin() + half}, {second.begin(), second.begin() + half}), 1e-2);
  EXPECT_GT(relative_max(images("two.safetensors", 2), two), 1e-2);
  EXPECT_NE(error_of([&] { images("second.safetensors", 2); }).find("no tensor \"null\""), std::string::npos);
  r.seeds = {1, 2, 3};
  EXPECT_NE(error_of([&] { images("two.safetensors", 1); }).find("holds 2 contexts for 3 images"), std::string::npos);
  r.context.clear();
  EXPECT_NE(error_of([&] { sample_images(r); }).find("this model needs --context FILE"), std::string::npos);
}

TEST_F(SampleRunTest, OtherParametersAreRefusedWhateverElseIsWanted) {
  sample_images(request({1, 2}));
  SampleRequest r = request({2});
  r.generator.sampler.steps = 4;
  EXPECT_NE(error_of([&] { sample_images(r); }).find("000002.png: exists, made with other parameters"),
            std::string::npos);
  r.tensor = dir_ / "t.safetensors";
  EXPECT_NE(error_of([&] { sample_images(r); }).find("made with other parameters"), std::string::npos);
}

TEST(ParseSeeds, ListsAndRanges) {
  EXPECT_EQ(parse_seeds("7"), (std::vector<uint64_t>{7}));
  EXPECT_EQ(parse_seeds("0-3,9,5-5"), (std::vector<uint64_t>{0, 1, 2, 3, 9, 5}));
  EXPECT_EQ(parse_seeds("999999999999999999"), (std::vector<uint64_t>{999999999999999999}));
  for (const char* bad : {"", ",", "1,", "a", "3-1", "1-2-3", "-1", "1 ", "99999999999999999999", "0-99999999999"})
    EXPECT_NE(error_of([&] { parse_seeds(bad); }).find("--seeds"), std::string::npos) << bad;
}

}  // namespace
}  // namespace uvic::test
