#include "app/progress.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace uvic {
namespace {

TEST(ProgressTest, TextHasRateTimeLeftAndNote) {
  Progress progress("train", "step", 1000, Progress::Style::quiet, 100);
  progress.update(200, "loss 0.5");
  // 100 new steps in 50 s: what was done before the start does not count.
  EXPECT_EQ(progress.text(50), "train 200/1000 step  2 step/s  6:40 left  loss 0.5");
  progress.update(1000);
  EXPECT_EQ(progress.text(90), "train 1000/1000 step  10 step/s  in 1:30");
}

TEST(ProgressTest, LinesAppearOnlyWhenDueAndQuietShowsNothing) {
  testing::internal::CaptureStderr();
  {
    Progress lines("sample", "image", 1000000, Progress::Style::lines);
    for (int i = 1; i <= 1000000; ++i) lines.update(i);
    Progress quiet("sample", "image", 10, Progress::Style::quiet);
    quiet.update(10);
    quiet.say("not shown");
  }
  const std::string shown = testing::internal::GetCapturedStderr();
  const auto count = std::count(shown.begin(), shown.end(), '\n');
  EXPECT_GE(count, 2);  // the first and the last
  EXPECT_LE(count, 20) << shown;
  EXPECT_NE(shown.find("sample 1000000/1000000 image"), std::string::npos) << shown;
  EXPECT_EQ(shown.find("not shown"), std::string::npos);
}

TEST(ProgressTest, TheEndIsSaidOnceAndNothingOfNothing) {
  testing::internal::CaptureStderr();
  {
    Progress one("encode", "caption", 6, Progress::Style::lines);
    one.update(6);
    Progress failed("train", "step", 8, Progress::Style::lines);
  }
  const std::string shown = testing::internal::GetCapturedStderr();
  EXPECT_EQ(std::count(shown.begin(), shown.end(), '\n'), 1) << shown;
  EXPECT_NE(shown.find("encode 6/6 caption"), std::string::npos) << shown;
}

TEST(ProgressTest, Durations) {
  EXPECT_EQ(format_duration(4), "0:04");
  EXPECT_EQ(format_duration(245.4), "4:05");
  EXPECT_EQ(format_duration(3723), "1:02:03");
  EXPECT_EQ(format_duration(3 * 86400 + 4 * 3600), "3d 04:00:00");
}

}  // namespace
}  // namespace uvic
