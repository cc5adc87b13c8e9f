// Event files: every byte is what the format says, and TensorBoard itself, where it is installed, reads them.

#include "app/event_file.h"

#include <chrono>

#include "app/run_log.h"
#include "app/trainer.h"
#include "tests/app/event_records.h"
#include "tests/app/program.h"
#include "tests/app/tiny_run.h"

namespace uvic::test {
namespace {

namespace fs = std::filesystem;

// RFC 3720, B.4.
TEST(Crc32c, IsCastagnolis) {
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(crc32c(""), 0u);
}

class EventFileTest : public FolderTest {
 protected:
  std::vector<uint8_t> png(int height, int width) {
    Image image = test_image(height, width, 3);
    return encode_png(image.tensor());
  }
};

TEST_F(EventFileTest, RecordsHoldWhatWasWritten) {
  const auto seconds = [] {
    return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  };
  const double before = seconds();
  EventFile file(dir_, 301);
  file.scalars(int64_t{1} << 40, {{"train/loss", 0.125}, {"train/lr", 1e-4}});
  const std::vector<uint8_t> image = png(40, 300);
  file.image(302, "samples", 40, 300, image);

  const auto events = event_records(read_text(file.path()));
  ASSERT_EQ(events.size(), 4u);
  for (const Message& e : events) {
    EXPECT_GE(e.floating<double>(1), before);
    EXPECT_LE(e.floating<double>(1), seconds());
  }
  EXPECT_EQ(events[0].text(3), "brain.Event:2");
  EXPECT_EQ(events[1].number(2), 301u);
  EXPECT_EQ(Message(events[1].text(7)).number(1), 1u);  // SessionLog.START
  EXPECT_EQ(events[2].number(2), uint64_t{1} << 40);
  const Message summary(events[2].text(5));
  ASSERT_EQ(summary.bytes.count(1), 2u);
  auto value = summary.bytes.find(1);
  EXPECT_EQ(Message(value->second).text(1), "train/loss");
  EXPECT_EQ(Message(value->second).floating<float>(2), 0.125f);
  EXPECT_EQ(Message((++value)->second).text(1), "train/lr");
  EXPECT_EQ(Message(value->second).floating<float>(2), 1e-4f);
  const Message shown(Message(events[3].text(5)).text(1));
  EXPECT_EQ(shown.text(1), "samples");
  const Message picture(shown.text(4));
  EXPECT_EQ(picture.number(1), 40u);
  EXPECT_EQ(picture.number(2), 300u);
  EXPECT_EQ(picture.number(3), 3u);
  EXPECT_EQ(picture.text(4), std::string(image.begin(), image.end()));
}

TEST_F(EventFileTest, EveryStartHasAFileAndTheirNamesAreInOrder) {
  std::vector<fs::path> made;
  for (int start = 0; start < 12; ++start) made.push_back(EventFile(dir_, 0).path());
  EXPECT_TRUE(std::is_sorted(made.begin(), made.end()));
  EXPECT_EQ(std::adjacent_find(made.begin(), made.end()), made.end());
  EXPECT_TRUE(made.back().filename().string().starts_with("events.out.tfevents."));
  const fs::path missing = dir_ / "none";
  EXPECT_NE(error_of([&] { EventFile(missing, 0); }).find(missing.string()), std::string::npos);
}

// A run that is resumed from before its last lines, as after a kill; then everything in its event files.
class TensorBoardTest : public ImageFolderTest {
 protected:
  void SetUp() override {
    RunConfig config = tiny_run(class_folders(3, 5));
    config.train.max_steps = 12;
    config.sample.every = 6;
    const TrainRequest request{
        .config = config, .out = run_, .resume = "auto", .device = {}, .progress = Progress::Style::quiet};
    train(request);
    fs::remove_all(run_ / "step-00000012");
    fs::remove_all(run_ / "step-00000010");
    train(request);  // from step 5: lines 8 and 12 again, and both grids
  }
  const fs::path run_ = dir_ / "run";
};

TEST_F(TensorBoardTest, TheFilesHoldTheSameNumbersAsTheMetrics) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(run_))
    if (entry.path().filename().string().starts_with("events.out.")) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  ASSERT_EQ(files.size(), 2u);
  std::map<std::string, std::map<uint64_t, float>> values;  // by name, by step
  std::map<uint64_t, std::string> grids;
  for (const fs::path& file : files) {
    for (const Message& e : event_records(read_text(file))) {
      if (e.bytes.contains(7)) {
        for (auto& [name, steps] : values) steps.erase(steps.lower_bound(e.number(2)), steps.end());
        if (file == files[1]) {
          EXPECT_EQ(e.number(2), 6u);
        }
      }
      if (!e.bytes.contains(5)) continue;
      const Message summary(e.text(5));
      for (auto [v, end] = summary.bytes.equal_range(1); v != end; ++v) {
        const Message value(v->second);
        const std::string tag = value.text(1);
        if (value.bytes.contains(4))
          grids[e.number(2)] = Message(value.text(4)).text(4);
        else
          EXPECT_TRUE(values[tag.substr(tag.find('/') + 1)].emplace(e.number(2), value.floating<float>(2)).second);
      }
    }
  }
  int lines = 0;
  std::ifstream metrics(run_ / "metrics.jsonl");
  for (std::string line; std::getline(metrics, line); ++lines) {
    const auto j = nlohmann::json::parse(line);
    for (const auto& [name, value] : j.items()) {
      if (name == "step" || value.is_null()) continue;
      ASSERT_TRUE(values[name].contains(j["step"])) << name;
      EXPECT_EQ(values[name][j["step"]], static_cast<float>(value.get<double>())) << name;
    }
    for (const char* name : {"loss", "loss_q0", "loss_q3", "grad_norm", "lr", "images_per_s", "tflops", "peak_share",
                             "data_wait", "memory_mib", "bad_images"})
      EXPECT_TRUE(j.contains(name)) << name;
    EXPECT_GT(j["peak_share"], 0);
    EXPECT_LT(j["peak_share"], 1);
    EXPECT_GT(j["memory_mib"], 1);
  }
  EXPECT_EQ(lines, 3);
  ASSERT_EQ(grids.size(), 2u);
  EXPECT_EQ(grids[6], read_text(run_ / "samples/step-00000006.png"));
  EXPECT_EQ(grids[12], read_text(run_ / "samples/step-00000012.png"));
}

// The mean of the quarters, weighted by their samples, is the loss.
TEST_F(TensorBoardTest, TheLossIsSharedOutAmongTheLevels) {
  std::ifstream metrics(run_ / "metrics.jsonl");
  for (std::string line; std::getline(metrics, line);) {
    const auto j = nlohmann::json::parse(line);
    double least = 1e9, most = 0;
    for (const char* name : {"loss_q0", "loss_q1", "loss_q2", "loss_q3"})
      if (!j[name].is_null()) least = std::min<double>(least, j[name]), most = std::max<double>(most, j[name]);
    EXPECT_LE(least, j["loss"]);
    EXPECT_GE(most, j["loss"]);
  }
}

TEST_F(TensorBoardTest, TensorBoardReadsIt) {
  const char* chosen = std::getenv("UVIC_PYTHON");
  const std::string python = chosen ? chosen : "python3";
  if (std::system(concat("'", python, "' -c 'import tensorboard' >/dev/null 2>&1").c_str()) != 0)
    GTEST_SKIP() << python << " has no package tensorboard (UVIC_PYTHON names another one)";
  const fs::path read = dir_ / "read.json";
  const std::string script = std::string(UVIC_SOURCE_DIR) + "/tests/app/read_events.py";
  const std::string command = concat("'", python, "' '", script, "' '", run_.string(), "' > '", read.string(), "'");
  ASSERT_EQ(std::system(command.c_str()), 0) << command;
  const auto got = nlohmann::json::parse(read_text(read));
  std::ifstream metrics(run_ / "metrics.jsonl");
  size_t lines = 0;
  for (std::string line; std::getline(metrics, line); ++lines) {
    const auto j = nlohmann::json::parse(line);
    for (const char* name : {"loss", "grad_norm", "lr"}) {
      const auto& scalar = got["scalars"][concat("train/", name)];
      ASSERT_EQ(scalar.size(), 3u) << name << ": a step is there twice, or is not";
      EXPECT_EQ(scalar[lines][0], j["step"]);
      EXPECT_EQ(scalar[lines][1].get<float>(), static_cast<float>(j[name].get<double>()));
    }
    EXPECT_EQ(got["scalars"]["speed/images_per_s"][lines][0], j["step"]);
  }
  EXPECT_EQ(lines, 3u);
  const auto& images = got["images"]["samples"];
  ASSERT_EQ(images.size(), 2u);
  const Image grid = read_image(run_ / "samples/step-00000012.png");
  EXPECT_EQ(images[1],
            (nlohmann::json{12, grid.width, grid.height, fs::file_size(run_ / "samples/step-00000012.png")}));
}

}  // namespace
}  // namespace uvic::test
