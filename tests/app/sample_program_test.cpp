// uvic-sample as a process: its outputs, byte by byte where others read them, and runs that are stopped.

#include <csignal>

#include "model/io/safetensors.h"
#include "tests/app/program.h"
#include "tests/app/tiny_run.h"

namespace uvic::test {
namespace {

namespace fs = std::filesystem;

class SampleProgram : public FolderTest {
 protected:
  // The options every run here has, then more.
  Ended sample(std::vector<std::string> more, const RunOptions& options = {}) {
    return run_program("uvic-sample", arguments(std::move(more)), options);
  }
  std::vector<std::string> arguments(std::vector<std::string> more) {
    std::vector<std::string> all{"-m", model_.string(), "--steps", "2", "--dtype", "f32", "--threads", "1", "-q"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  std::string out() const { return (dir_ / "out").string(); }
  fs::path png(int seed) const { return dir_ / "out" / concat("00000", seed, ".png"); }

  fs::path model_ = write_random_model(dir_ / "model.safetensors", tiny_model(), {"cat", "dog", "eel"});
};

TEST_F(SampleProgram, WritesImagesGridArrayAndTensor) {
  const fs::path grid = dir_ / "grid.png", npz = dir_ / "images.npz", tensor = dir_ / "images.safetensors";
  const Ended p = sample({"-n", "5", "-s", "2", "-b", "2", "-o", out(), "--grid", grid.string(), "--npz", npz.string(),
                          "--save-tensor", tensor.string(), "--json"});
  ASSERT_EQ(p.status, 0) << p.err;
  EXPECT_EQ(p.err, "");
  const auto j = nlohmann::json::parse(p.out, nullptr, false);
  ASSERT_TRUE(j.is_object()) << p.out;
  EXPECT_EQ(std::count(p.out.begin(), p.out.end(), '\n'), 1);
  EXPECT_EQ(j["images"], 5);
  EXPECT_EQ(j["kept"], 0);

  // An uncompressed zip: local header (30 bytes and the name), then NumPy's format with shape [N, h, w, 3].
  const std::string zip = read_text(npz);
  ASSERT_EQ(zip.substr(0, 4), "PK\x03\x04");
  EXPECT_EQ(zip.substr(30, 9), "arr_0.npy");
  const size_t npy = zip.find("\x93NUMPY");
  ASSERT_NE(npy, std::string::npos);
  const size_t header = static_cast<uint8_t>(zip[npy + 8]) + 256u * static_cast<uint8_t>(zip[npy + 9]);
  const std::string dict = zip.substr(npy + 10, header);
  EXPECT_EQ((10 + header) % 64, 0u);
  EXPECT_EQ(dict.back(), '\n');
  EXPECT_TRUE(dict.starts_with("{'descr': '|u1', 'fortran_order': False, 'shape': (5,8,8,3,), }")) << dict;
  const std::string pixels = zip.substr(npy + 10 + header, 5 * 8 * 8 * 3);

  const SafetensorsFile floats(tensor);
  ASSERT_EQ(floats.tensor("images").shape(), Shape({5, 3, 8, 8}));
  Image all = read_image(grid);
  for (int i = 0; i < 5; ++i) {
    const Image image = read_image(png(2 + i));
    ASSERT_EQ(image.width, 8);
    ASSERT_EQ(image.height, 8);
    EXPECT_EQ(std::string(image.rgb.begin(), image.rgb.end()), pixels.substr(static_cast<size_t>(i) * 192, 192));
    for (int y = 0; y < 8; ++y) {
      for (int x = 0; x < 8; ++x) {
        for (int c = 0; c < 3; ++c) {
          const uint8_t value = image.rgb[static_cast<size_t>((y * 8 + x) * 3 + c)];
          const double v = at(floats.tensor("images"), ((i * 3 + c) * 8 + y) * 8 + x);
          EXPECT_NEAR(value, std::clamp(127.5 * (v + 1), 0.0, 255.0), 0.51);
          const int top = 2 + i / 3 * 10, left = 2 + i % 3 * 10;  // a column a class, 2 pixels between
          EXPECT_EQ(all.rgb[static_cast<size_t>(((top + y) * all.width + left + x) * 3 + c)], value);
        }
      }
    }
    const auto parameters = nlohmann::json::parse(inspect_png(png(2 + i))->parameters);
    EXPECT_EQ(parameters["seed"], 2 + i);
    EXPECT_EQ(parameters["class_name"], (std::vector<std::string>{"cat", "dog", "eel"})[static_cast<size_t>(i) % 3]);
    EXPECT_EQ(parameters["steps"], 2);
  }
}

TEST_F(SampleProgram, RunningAgainFinishesWhatIsMissing) {
  const std::vector<std::string> run{"-n", "5", "-o", out(), "--json"};
  ASSERT_EQ(sample(run).status, 0);
  std::vector<std::string> want;
  for (int i = 0; i < 5; ++i) want.push_back(read_text(png(i)));
  write_text(png(1), want[1].substr(0, want[1].size() / 2));  // as a kill or a full disk would leave it
  write_text(png(2), want[2].substr(0, 60) + std::string(1, static_cast<char>(~want[2][60])) + want[2].substr(61));
  fs::remove(png(3));
  const auto before = fs::last_write_time(png(0));
  const Ended again = sample(run);
  ASSERT_EQ(again.status, 0) << again.err;
  EXPECT_EQ(nlohmann::json::parse(again.out)["images"], 3);
  EXPECT_EQ(nlohmann::json::parse(again.out)["kept"], 2);
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(read_text(png(i)) == want[static_cast<size_t>(i)]) << i;
  EXPECT_EQ(fs::last_write_time(png(0)), before) << "a whole image was written again";

  std::vector<std::string> other = run;
  other.insert(other.end(), {"--class", "dog"});
  EXPECT_TRUE(failed_clearly(sample(other), "uvic-sample", 1,
                             {png(0).string() + ": exists, made with other parameters", "choose another folder"}));
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(read_text(png(i)) == want[static_cast<size_t>(i)]) << i;
}

TEST_F(SampleProgram, AnInterruptKeepsWholeImagesAndRunningAgainFinishes) {
  const std::vector<std::string> run{"-n", "2000", "-b", "1", "-o", out(), "--json"};
  Program program("uvic-sample", arguments(run));
  ASSERT_TRUE(wait_until(program, dir_ / "out", [&] { return fs::exists(png(3)); }));
  program.signal(SIGINT);
  const Ended stopped = program.wait();
  ASSERT_EQ(stopped.status, 130) << stopped.err;
  const auto j = nlohmann::json::parse(stopped.out);
  EXPECT_EQ(j["interrupted"], true);
  int64_t whole = 0;
  for (const auto& entry : fs::directory_iterator(dir_ / "out")) {
    EXPECT_TRUE(inspect_png(entry.path())) << entry.path();
    ++whole;
  }
  EXPECT_EQ(j["images"], whole);
  const Ended rest = sample({"-n", std::to_string(whole + 2), "-b", "1", "-o", out(), "--json"});
  EXPECT_EQ(nlohmann::json::parse(rest.out)["kept"], whole);
  EXPECT_EQ(nlohmann::json::parse(rest.out)["images"], 2);
}

TEST_F(SampleProgram, NoiseGoesInAndTensorsComeOut) {
  const auto noise = random_tensor(DType::f32, {2, 3, 8, 8}, 1);
  write_safetensors(dir_ / "noise.safetensors", {{"any name", noise.tensor}}, {});
  const std::vector<std::string> given{
      "-n", "2", "--class", "1", "--init-noise", (dir_ / "noise.safetensors").string()};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.end(), given.begin(), given.end());
    return sample(more);
  };
  const Ended a = with({"--save-tensor", (dir_ / "a.safetensors").string(), "-s", "0"});
  const Ended b = with({"--save-tensor", (dir_ / "b.safetensors").string(), "-s", "77"});
  ASSERT_EQ(a.status, 0) << a.err;
  ASSERT_EQ(b.status, 0) << b.err;
  const SafetensorsFile fa(dir_ / "a.safetensors"), fb(dir_ / "b.safetensors");
  EXPECT_EQ(values(fa.tensor("images")), values(fb.tensor("images")));  // the seeds no longer count
  // The same images from seeds are others, and must not be taken for these.
  ASSERT_EQ(with({"-o", out()}).status, 0);
  EXPECT_TRUE(failed_clearly(sample({"-n", "2", "--class", "1", "-o", out()}), "uvic-sample", 1, {"other parameters"}));
}

TEST_F(SampleProgram, AFullDiskLeavesNoHalfImage) {
  const Ended p = sample({"-n", "2", "-o", out()}, {.file_size_limit = 100});
  EXPECT_TRUE(failed_clearly(p, "uvic-sample", 1, {"000000.png: cannot write: File too large"}));
  EXPECT_TRUE(fs::is_empty(dir_ / "out"));
  for (const char* option : {"--npz", "--save-tensor", "--grid"}) {
    const fs::path file = dir_ / "collected";
    const Ended full = sample({"-n", "2", option, file.string()}, {.file_size_limit = 100});
    EXPECT_TRUE(failed_clearly(full, "uvic-sample", 1, {file.string(), "File too large"})) << option;
    EXPECT_FALSE(fs::exists(file)) << option;
    EXPECT_FALSE(fs::exists(file.string() + ".tmp")) << option;
    // Before any work is done, and without harm to what is there.
    EXPECT_TRUE(failed_clearly(sample({"-n", "2", option, (dir_ / "no" / "file").string()}), "uvic-sample", 1,
                               {"there is no folder " + (dir_ / "no").string()}));
    EXPECT_TRUE(failed_clearly(sample({"-n", "2", option, dir_.string()}), "uvic-sample", 1,
                               {dir_.string() + ": exists and is not a regular file"}));
  }
}

TEST_F(SampleProgram, ABatchThatDoesNotFitInMemoryIsAnError) {
  UViCConfig large = tiny_model();
  large.img_size = 512;
  large.patch_size = 32;
  const fs::path model = write_random_model(dir_ / "large.safetensors", large);
  const Ended p = run_program("uvic-sample", {"-m", model.string(), "-n", "500000", "-b", "500000", "-o", out()});
  EXPECT_TRUE(failed_clearly(p, "uvic-sample", 1, {"out of memory", "a smaller batch needs less"}));
}

}  // namespace
}  // namespace uvic::test
