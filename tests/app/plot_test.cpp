// Plots: round ticks, lines where they should be, errors for what cannot be drawn.

#include "app/plot.h"

#include <cmath>

#include "app/plot_axis.h"
#include "tests/app/image_fixtures.h"

namespace uvic::test {
namespace {

std::vector<std::string> labels(const AxisScale& axis) {
  std::vector<std::string> out;
  for (const auto& tick : axis.ticks())
    if (!tick.label.empty()) out.push_back(tick.label);
  return out;
}

TEST(AxisScaleTest, TicksAreRoundNumbers) {
  using Labels = std::vector<std::string>;
  EXPECT_EQ(labels(AxisScale(0, 100, false, 5)), (Labels{"0", "50", "100"}));
  EXPECT_EQ(labels(AxisScale(1, 45000, false, 8)), (Labels{"0", "10k", "20k", "30k", "40k"}));
  EXPECT_EQ(labels(AxisScale(0.031, 0.054, false, 5)), (Labels{"0.035", "0.04", "0.045", "0.05"}));
  EXPECT_EQ(labels(AxisScale(-2, 2, false, 5)), (Labels{"-2", "-1", "0", "1", "2"}));
  EXPECT_EQ(labels(AxisScale(0.02, 1.2, true, 8)), (Labels{"0.02", "0.05", "0.1", "0.2", "0.5", "1"}));
  EXPECT_EQ(labels(AxisScale(1e-7, 1, true, 4)), (Labels{"1e-6", "0.0001", "0.01", "1"}));
  EXPECT_EQ(labels(AxisScale(500000, 2500000, false, 5)), (Labels{"0.5M", "1M", "1.5M", "2M", "2.5M"}));
  for (const double v : {7.0, 0.0, -3.0}) {  // one value lies in the middle
    const AxisScale axis(v, v, false, 5);
    EXPECT_NEAR(axis.at(v), 0.5, 1e-9) << v;
  }
  EXPECT_NEAR(AxisScale(10, 10, true, 5).at(10), 0.5, 1e-9);
}

TEST(AxisScaleTest, EveryTickAndPointLiesOnTheAxis) {
  for (const bool log : {false, true}) {
    for (double low = 1e-6; low < 1e7; low *= 7) {
      for (const double ratio : {1.0, 1.001, 1.7, 30.0, 1e6}) {
        const AxisScale axis(low, low * ratio, log, 6);
        EXPECT_GE(axis.at(low), 0);
        EXPECT_LE(axis.at(low * ratio), 1);
        EXPECT_GE(axis.ticks().size(), 1u) << low << " " << ratio;
        EXPECT_LE(labels(axis).size(), 9u) << low << " " << ratio;
        for (const auto& tick : axis.ticks()) {
          EXPECT_GE(axis.at(tick.value), -1e-9);
          EXPECT_LE(axis.at(tick.value), 1 + 1e-9);
        }
      }
    }
  }
}

// The first colour's pixels, by column: [first, last] row, or nothing.
std::map<int, std::pair<int, int>> blue(const Image& image) {
  std::map<int, std::pair<int, int>> rows;
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) {
      const uint8_t* p = &image.rgb[static_cast<size_t>(y * image.width + x) * 3];
      if (std::abs(p[0] - 0) > 30 || std::abs(p[1] - 114) > 30 || std::abs(p[2] - 178) > 30) continue;
      if (!rows.contains(x)) rows[x] = {y, y};
      rows[x].second = y;
    }
  }
  return rows;
}

TEST(PlotTest, ALineGoesWhereItsPointsAre) {
  Plot plot{.x = {"step"}, .y = {"loss"}, .series = {{.x = {0, 1, 2}, .y = {0, 2, 1}}}, .width = 400, .height = 300};
  const Image image = draw_plot(plot);
  EXPECT_EQ(image.width, 400);
  EXPECT_EQ(image.height, 300);
  const auto rows = blue(image);
  ASSERT_GT(rows.size(), 300u);
  const int left = rows.begin()->first, right = rows.rbegin()->first, middle = (left + right) / 2;
  EXPECT_GT(rows.at(left).first, rows.at(middle).first + 150) << "it rises to the middle";
  const double half = (rows.at(left).first + rows.at(middle).first) / 2.0;
  EXPECT_NEAR(rows.at(right).first, half, 4) << "and falls by half";
}

TEST(PlotTest, GapsAreGapsAndLogLeavesOutWhatHasNone) {
  Plot plot{.series = {{.x = {0, 1, 2, 3, 4, 5}, .y = {1, 1, NAN, 1, 1, 2}}}};
  const auto rows = blue(draw_plot(plot));
  int gap = 0;
  for (int x = rows.begin()->first; x < rows.rbegin()->first; ++x) gap += !rows.contains(x);
  EXPECT_GT(gap, plot.width / 4);
  plot.y.log = true;
  plot.series[0].y = {1, 10, 0, -5, 100, 1000};
  EXPECT_GT(blue(draw_plot(plot)).size(), 100u);
}

TEST(PlotTest, WhatCannotBeDrawnIsSaid) {
  EXPECT_NE(error_of([] { draw_plot({.title = "t"}); }).find("plot 't': there is no point to draw"), std::string::npos);
  EXPECT_NE(error_of([] { draw_plot({.y = {.log = true}, .series = {{.x = {1}, .y = {0}}}}); }).find("no point"),
            std::string::npos);
  EXPECT_NE(error_of([] {
              draw_plot({.series = {{.label = "a", .x = {1, 2}, .y = {0}}}});
            }).find("series 'a' has 2 x and 1 y"),
            std::string::npos);
  EXPECT_NE(
      error_of([] { draw_plot({.series = {{.x = {1}, .y = {1}}}, .width = 20}); }).find("20 x 540 pixels are too"),
      std::string::npos);
}

}  // namespace
}  // namespace uvic::test
