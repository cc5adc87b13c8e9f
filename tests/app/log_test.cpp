#include "app/log.h"

#include <limits>

#include "tests/app/image_fixtures.h"

namespace uvic {
namespace {

using namespace test;

TEST(LogTest, FormatsForMachineAndEye) {
  const LogFields fields{
      {"step", int64_t{12}}, {"loss", 0.1}, {"note", "a \"b\"\n"}, {"bad", std::numeric_limits<double>::quiet_NaN()}};
  EXPECT_EQ(to_json(fields), R"({"step":12,"loss":0.1,"note":"a \"b\"\u000a","bad":null})");
  EXPECT_EQ(nlohmann::json::parse(to_json(fields))["note"], "a \"b\"\n");
  EXPECT_EQ(to_text({{"step", int64_t{12}}, {"lr", 0.00012345}}), "step 12  lr 0.0001234");
}

class MetricsLogTest : public FolderTest {};

TEST_F(MetricsLogTest, AResumedFileEqualsAnUninterruptedOne) {
  const auto run = [](const std::filesystem::path& path, int64_t resumed, int64_t last) {
    MetricsLog log(path, resumed);
    for (int64_t step = std::max<int64_t>(resumed, 0) + 1; step <= last; ++step)
      log.write(step, {{"loss", 1.0 / static_cast<double>(step)}});
  };
  run(dir_ / "whole.jsonl", -1, 9);
  const std::string whole = read_text(dir_ / "whole.jsonl");
  EXPECT_EQ(std::count(whole.begin(), whole.end(), '\n'), 9);

  run(dir_ / "a.jsonl", -1, 7);
  std::ofstream(dir_ / "a.jsonl", std::ios::app) << "{\"step\":8,\"lo";  // torn by a crash
  run(dir_ / "a.jsonl", 5, 9);
  EXPECT_EQ(read_text(dir_ / "a.jsonl"), whole);
  run(dir_ / "a.jsonl", 0, 9);
  EXPECT_EQ(read_text(dir_ / "a.jsonl"), whole);
  run(dir_ / "a.jsonl", -1, 9);
  EXPECT_EQ(read_text(dir_ / "a.jsonl"), whole);
  run(dir_ / "new.jsonl", 0, 9);
  EXPECT_EQ(read_text(dir_ / "new.jsonl"), whole);
}

TEST_F(MetricsLogTest, ADamagedLineDoesNotCostThoseBehindIt) {
  const auto path = dir_ / "a.jsonl";
  const std::string kept = "{\"step\":1,\"loss\":2}\n{\"st?\n\n{\"step\":3,\"loss\":1}\n";
  write_text(path, kept + "{\"step\":4,\"loss\":1}\n{\"step\":5,\"lo");
  MetricsLog(path, 3);
  EXPECT_EQ(read_text(path), kept);
}

TEST_F(MetricsLogTest, ErrorsNameThePath) {
  const auto path = dir_ / "no" / "metrics.jsonl";
  EXPECT_NE(error_of([&] { MetricsLog(path, -1); }).find(path.string()), std::string::npos);
}

}  // namespace
}  // namespace uvic
