// sample_images(): classes, contexts and noise from files, images kept from earlier runs.

#include "app/sample_run.h"

#include <algorithm>

#include "app/loaded_model.h"
#include "app/resize.h"
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
    r.device = "cpu";
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

// Classes, guidance, fresh noise in every step, and two labels mixed.
TEST_F(SampleRunTest, AGpuMakesTheImagesOfTheCpu) {
  if (devices().size() == 1) GTEST_SKIP() << "no GPU";
  const auto images = [&](const std::string& device, const std::string& solver, const std::string& classes) {
    SampleRequest r = request({1, 2, 3});
    r.device = device;
    r.batch = 2;
    r.classes = classes;
    r.generator.sampler.solver = solver;
    r.generator.guidance.scale = 1.5;
    if (classes == "cat,eel") r.seeds.assign(3, 7), r.interpolate = 3;
    r.out.clear();
    r.tensor = dir_ / "t.safetensors";
    sample_images(r);
    const SafetensorsFile result(r.tensor);
    return values(result.tensor("images"));
  };
  for (const auto& [solver, classes] : {std::pair("dpm++", "all"), {"ddpm", "dog"}, {"dpm++", "cat,eel"}}) {
    SCOPED_TRACE(concat(solver, ' ', classes));
    EXPECT_LE(relative_max(images("cuda", solver, classes), images("cpu", solver, classes)), 1e-4);
  }
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
    r.generator.guidance.scale = cfg_scale;
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
  // Guided away from the null context of the one file, given as the negative context of another.
  const std::vector<double> guided = images("two.safetensors", 2);
  write_safetensors(dir_ / "negative.safetensors", {{"context", null_row.tensor}}, {});
  r.negative_context = dir_ / "negative.safetensors";
  EXPECT_EQ(images("two.safetensors", 2), guided);
  EXPECT_NE(error_of([&] { images("two.safetensors", 1); }).find("--negative-context"), std::string::npos);
  r.negative_context = dir_ / "two.safetensors";
  EXPECT_NE(error_of([&] { images("two.safetensors", 2); }).find("holds 2 contexts"), std::string::npos);
  r.negative_context.clear();
  r.seeds = {1, 2, 3};
  EXPECT_NE(error_of([&] { images("two.safetensors", 1); }).find("holds 2 contexts for 3 images"), std::string::npos);
  r.context.clear();
  EXPECT_NE(error_of([&] {
              sample_images(r);
            }).find("this model needs --prompt TEXT, --prompts-file FILE, or --context FILE"),
            std::string::npos);
}

TEST_F(SampleRunTest, InterpolationGoesFromOneSeedAndClassToTheOther) {
  const auto images = [&](SampleRequest r) {
    r.out.clear();
    r.tensor = dir_ / "t.safetensors";
    sample_images(r);
    const SafetensorsFile result(r.tensor);
    return values(result.tensor("images"));
  };
  const auto one = [&](uint64_t seed, const std::string& label) {
    SampleRequest r = request({seed});
    r.classes = label;
    return images(r);
  };
  SampleRequest r = request({7, 7, 7, 7, 7});
  r.interpolate = 5;
  r.to_seed = 9;
  r.classes = "cat,eel";
  r.batch = 2;
  const std::vector<double> all = images(r);
  const auto row = [&](int i) { return std::vector<double>(all.begin() + i * 192, all.begin() + (i + 1) * 192); };
  EXPECT_LE(relative_l2(row(0), one(7, "cat")), 1e-4);
  EXPECT_LE(relative_l2(row(4), one(9, "eel")), 1e-4);
  EXPECT_LT(relative_l2(row(1), row(0)), relative_l2(row(4), row(0)));
  r.classes = "cat,elk";
  EXPECT_NE(error_of([&] { images(r); }).find("elk"), std::string::npos);
  r.classes = "all";
  EXPECT_NE(error_of([&] { images(r); }).find("--interpolate needs one --class, or two"), std::string::npos);
  r.classes = "cat";
  EXPECT_NE(error_of([&] { sample_images(r); }).find("-o has no names for"), std::string::npos);
}

TEST_F(SampleRunTest, TrajectoryEndsInTheImageAndPreviewInTheLastBatch) {
  SampleRequest r = request({1, 2, 3});
  r.batch = 2;
  r.trajectory = dir_ / "steps.png";
  r.preview = dir_ / "now.png";
  sample_images(r);
  const Image steps = read_image(r.trajectory), now = read_image(r.preview);
  EXPECT_EQ(steps.width, 3 * 10 + 2);
  EXPECT_EQ(steps.height, 3 * 10 + 2);
  const auto cell = [&](const Image& grid, int y, int x) { return crop(grid, 2 + 10 * y, 2 + 10 * x, 8, 8); };
  for (int i = 0; i < 3; ++i) EXPECT_EQ(cell(steps, i, 2), read_image(r.out / concat("00000", i + 1, ".png")));
  EXPECT_NE(cell(steps, 0, 0), cell(steps, 0, 2));
  EXPECT_EQ(cell(now, 0, 0), cell(steps, 2, 2));
  r.generator.sampler.steps = 4000;
  r.out.clear();
  EXPECT_NE(error_of([&] { sample_images(r); }).find("12000 pictures"), std::string::npos);
}

TEST_F(SampleRunTest, ProcessesShareTheImages) {
  SampleRequest r = request({1, 2, 3, 4, 5});
  int64_t made = 0;
  for (int rank = 0; rank < 3; ++rank) {
    r.world = {rank, 3};
    made += sample_images(r).made;
  }
  EXPECT_EQ(made, 5);
  r.grid = dir_ / "grid.png";
  EXPECT_NE(error_of([&] { sample_images(r); }).find("need all images in one process"), std::string::npos);
  r.world = {};
  EXPECT_EQ(sample_images(r).kept, 5);
  SampleRequest alone = request({1, 2, 3, 4, 5});
  alone.out = dir_ / "alone";
  sample_images(alone);
  for (int i = 1; i <= 5; ++i) {
    const std::string name = concat("00000", i, ".png");
    EXPECT_EQ(inspect_png(r.out / name)->parameters, inspect_png(alone.out / name)->parameters);
  }
}

TEST_F(SampleRunTest, PaintsWhereTheMaskIsWhite) {
  Image photo = test_image(20, 24, 3), mask{20, 24, std::vector<uint8_t>(20 * 24 * 3, 0)};
  for (int y = 0; y < 20; ++y)
    for (int x = 12; x < 24; ++x)
      for (int c = 0; c < 3; ++c) mask.rgb[static_cast<size_t>((y * 24 + x) * 3 + c)] = 255;
  write_png(dir_ / "photo.png", photo.tensor());
  write_png(dir_ / "mask.png", mask.tensor());
  const Image small = center_crop_arr(photo, 8);
  SampleRequest r = request({1});
  r.init_image = dir_ / "photo.png";
  r.mask = dir_ / "mask.png";
  sample_images(r);
  const Image got = read_image(r.out / "000001.png");
  EXPECT_EQ(crop(got, 0, 0, 8, 3), crop(small, 0, 0, 8, 3));
  EXPECT_NE(crop(got, 0, 5, 8, 3), crop(small, 0, 5, 8, 3));

  write_png(dir_ / "mask.png", Image{20, 20, std::vector<uint8_t>(1200)}.tensor());
  EXPECT_NE(error_of([&] { sample_images(r); }).find("is 20 x 20 pixels"), std::string::npos);
  r.init_image.clear();
  EXPECT_NE(error_of([&] { sample_images(r); }).find("--init-image, which is missing"), std::string::npos);
  r.mask.clear();
  r.strength = 0.5;
  EXPECT_NE(error_of([&] { sample_images(r); }).find("--init-image, which is missing"), std::string::npos);
  r.init_image = dir_ / "photo.png";
  r.strength = 1.5;
  EXPECT_NE(error_of([&] { sample_images(r); }).find("at most 1, got 1.5"), std::string::npos);
}

TEST_F(SampleRunTest, NegativeClassesAndGuidesNeedGuidance) {
  SampleRequest r = request({1});
  r.negative_class = "cat";
  EXPECT_NE(error_of([&] { sample_images(r); }).find("--negative-class cat"), std::string::npos);
  r.generator.guidance.scale = 2;
  EXPECT_EQ(sample_images(r).made, 1);
  r.guide_model = model_;
  EXPECT_NE(error_of([&] { sample_images(r); }).find("no --guide-model"), std::string::npos);
  r.negative_class.clear();
  r.out = dir_ / "guided";
  EXPECT_EQ(sample_images(r).made, 1);
  r.generator.guidance.scale = 1;
  EXPECT_NE(error_of([&] { sample_images(r); }).find("--guide-model needs a --cfg-scale"), std::string::npos);
}

TEST(World, IsWhatTheLauncherSays) {
  const auto at = [](std::map<std::string, std::string> set) {
    for (const char* name : {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "PMI_RANK", "PMI_SIZE", "SLURM_PROCID",
                             "SLURM_STEP_NUM_TASKS"})
      set.contains(name) ? setenv(name, set[name].c_str(), 1) : unsetenv(name);
    const World w = world_from_environment();
    return std::pair(w.rank, w.size);
  };
  EXPECT_EQ(at({{"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", "4"}}), std::pair(1, 4));
  EXPECT_EQ(at({{"PMI_RANK", "0"}, {"PMI_SIZE", "2"}}), std::pair(0, 2));
  EXPECT_EQ(at({{"SLURM_PROCID", "0"}}), std::pair(0, 1)) << "a batch script, not a step of srun's";
  EXPECT_NE(error_of([&] { at({{"PMI_RANK", "2"}, {"PMI_SIZE", "2"}}); }).find("PMI_RANK is 2"), std::string::npos);
  EXPECT_NE(error_of([&] { at({{"PMI_RANK", "x"}, {"PMI_SIZE", "2"}}); }).find("'x'"), std::string::npos);
  EXPECT_EQ(at({}), std::pair(0, 1));
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
