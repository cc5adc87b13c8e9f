#include "app/plot.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>

#include "app/plot_axis.h"
#include "kernels/core/error.h"

namespace uvic {
namespace {

constexpr int kFine = 3;   // everything is drawn so many times as large and averaged: smooth lines and letters
constexpr int kShift = 4;  // bits of a coordinate's fraction
constexpr int kPad = 14;   // pixels around everything
constexpr int kFont = cv::FONT_HERSHEY_SIMPLEX;
constexpr double kText = 0.45, kTitle = 0.6;  // sizes of letters

// Wong, Nature Methods 8 (2011) 441: told apart by colour-blind readers. RGB.
const std::array<cv::Scalar, 7> kColours{
    {{0, 114, 178}, {213, 94, 0}, {0, 158, 115}, {204, 121, 167}, {230, 159, 0}, {86, 180, 233}, {90, 90, 90}}};
const cv::Scalar kInk(40, 40, 40), kGrid(230, 230, 230), kFineGrid(242, 242, 242), kWhite(255, 255, 255);

cv::Size text_size(const std::string& text, double size) {  // in pixels of the finished plot
  int below = 0;
  const cv::Size fine = cv::getTextSize(text, kFont, size * kFine, kFine, &below);
  return {(fine.width + kFine - 1) / kFine, (fine.height + kFine - 1) / kFine};
}

// The plot while it is drawn. Coordinates are pixels of the finished plot, from its upper left corner.
class Canvas {
 public:
  explicit Canvas(const Plot& plot) : fine_(plot.height * kFine, plot.width * kFine, CV_8UC3, kWhite) {}

  void line(const std::vector<cv::Point2d>& points, const cv::Scalar& colour, double width) {
    std::vector<cv::Point> fixed;
    for (const cv::Point2d& p : points) fixed.push_back(fine(p));
    cv::polylines(fine_, fixed, false, colour, std::max(1, cv::saturate_cast<int>(width * kFine)), cv::LINE_AA, kShift);
  }
  void dot(cv::Point2d at, const cv::Scalar& colour, double radius) {
    cv::circle(fine_, fine(at), cv::saturate_cast<int>(radius * kFine * (1 << kShift)), colour, cv::FILLED, cv::LINE_AA,
               kShift);
  }
  // left: where the text begins; bottom: its base line.
  void text(const std::string& text, double left, double bottom, double size) {
    cv::putText(fine_, text, cv::Point2d(left * kFine, bottom * kFine), kFont, size * kFine, kInk, kFine, cv::LINE_AA);
  }
  void blank(const cv::Rect2d& area) {
    cv::rectangle(fine_, cv::Rect2d(area.tl() * kFine, area.br() * kFine), kWhite, cv::FILLED);
  }
  Image image(const Plot& plot) const {
    Image out{plot.height, plot.width, {}};
    out.rgb.resize(static_cast<size_t>(plot.height) * static_cast<size_t>(plot.width) * 3);
    cv::Mat pixels(plot.height, plot.width, CV_8UC3, out.rgb.data());
    cv::resize(fine_, pixels, pixels.size(), 0, 0, cv::INTER_AREA);
    return out;
  }

 private:
  static cv::Point fine(cv::Point2d p) {
    constexpr double kScale = kFine * (1 << kShift);
    return {cv::saturate_cast<int>(p.x * kScale), cv::saturate_cast<int>(p.y * kScale)};
  }
  cv::Mat fine_;
};

bool drawable(const PlotAxis& axis, double v) { return std::isfinite(v) && (!axis.log || v > 0); }

bool drawable(const Plot& plot, const PlotSeries& s, size_t i) {
  return drawable(plot.x, s.x[i]) && drawable(plot.y, s.y[i]);
}

// The axis that holds all values of the points that can be drawn.
AxisScale scale_of(const Plot& plot, std::vector<double> PlotSeries::*values, const PlotAxis& axis, int ticks) {
  double low = INFINITY, high = -INFINITY;
  for (const PlotSeries& s : plot.series)
    for (size_t i = 0; i < s.x.size(); ++i)
      if (drawable(plot, s, i)) low = std::min(low, (s.*values)[i]), high = std::max(high, (s.*values)[i]);
  UVIC_CHECK(low <= high, "plot '", plot.title, "': there is no point to draw");
  return {low, high, axis.log, ticks};
}

// The next colour for each series; a faint one is pale in that of the series behind it.
struct Colours {
  size_t next = 0;
  cv::Scalar of(const PlotSeries& s) {
    const cv::Scalar& colour = kColours[next % kColours.size()];
    if (s.faint) return colour * 0.3 + kWhite * 0.7;
    ++next;
    return colour;
  }
};

void draw_series(Canvas& canvas, const Plot& plot, const AxisScale& x, const AxisScale& y, const cv::Rect2d& area) {
  Colours colours;
  for (const PlotSeries& s : plot.series) {
    const cv::Scalar colour = colours.of(s);
    std::vector<cv::Point2d> part;
    for (size_t i = 0; i <= s.x.size(); ++i) {
      if (i < s.x.size() && drawable(plot, s, i)) {
        part.emplace_back(area.x + x.at(s.x[i]) * area.width, area.br().y - y.at(s.y[i]) * area.height);
        continue;
      }
      if (part.size() > 1) canvas.line(part, colour, s.faint ? 1 : 2);
      for (const cv::Point2d& p : part)
        if (s.markers || part.size() == 1) canvas.dot(p, colour, 3.5);
      part.clear();
    }
  }
}

// In the upper right corner.
void draw_legend(Canvas& canvas, const Plot& plot, const cv::Rect2d& area) {
  constexpr double kLine = 20, kSample = 22;
  double width = 0, lines = 0;
  for (const PlotSeries& s : plot.series)
    if (!s.label.empty()) width = std::max<double>(width, text_size(s.label, kText).width), ++lines;
  if (lines == 0) return;
  const double left = area.br().x - width - kSample - 3 * kPad / 2.0;
  canvas.blank({left - 8, area.y + 6, area.br().x - left + 2, lines * kLine + 6});
  Colours colours;
  double middle = area.y + 20;
  for (const PlotSeries& s : plot.series) {
    const cv::Scalar colour = colours.of(s);
    if (s.label.empty()) continue;
    canvas.line({{left, middle}, {left + kSample, middle}}, colour, s.faint ? 1 : 2);
    if (s.markers) canvas.dot({left + kSample / 2, middle}, colour, 3.5);
    canvas.text(s.label, left + kSample + 8, middle + 4, kText);
    middle += kLine;
  }
}

}  // namespace

Image draw_plot(const Plot& plot) {
  UVIC_CHECK(plot.width >= 160 && plot.height >= 120, "plot '", plot.title, "': ", plot.width, " x ", plot.height,
             " pixels are too few; 160 x 120 are the least");
  for (const PlotSeries& s : plot.series)
    UVIC_CHECK(s.x.size() == s.y.size(), "plot '", plot.title, "': series '", s.label, "' has ", s.x.size(), " x and ",
               s.y.size(), " y");
  const AxisScale x = scale_of(plot, &PlotSeries::x, plot.x, plot.width / 110);
  const AxisScale y = scale_of(plot, &PlotSeries::y, plot.y, plot.height / 60);

  double label_width = 0;
  for (const auto& tick : y.ticks()) label_width = std::max<double>(label_width, text_size(tick.label, kText).width);
  const double top = kPad + (plot.title.empty() ? 0 : 28) + (plot.y.label.empty() ? 0 : 20);
  const double bottom = plot.height - kPad - 22 - (plot.x.label.empty() ? 0 : 22);
  const cv::Rect2d area(kPad + label_width + 8, top, plot.width - 2 * kPad - label_width - 16, bottom - top);

  Canvas canvas(plot);
  for (const auto& tick : x.ticks()) {
    const double at = area.x + x.at(tick.value) * area.width;
    canvas.line({{at, area.y}, {at, bottom}}, tick.label.empty() ? kFineGrid : kGrid, 1);
    canvas.text(tick.label, at - text_size(tick.label, kText).width / 2.0, bottom + 18, kText);
  }
  for (const auto& tick : y.ticks()) {
    const double at = bottom - y.at(tick.value) * area.height;
    const cv::Size size = text_size(tick.label, kText);
    canvas.line({{area.x, at}, {area.br().x, at}}, tick.label.empty() ? kFineGrid : kGrid, 1);
    canvas.text(tick.label, area.x - 8 - size.width, at + size.height / 2.0, kText);
  }
  canvas.line({{area.x, area.y}, {area.x, bottom}, {area.br().x, bottom}}, kInk, 1);
  draw_series(canvas, plot, x, y, area);
  draw_legend(canvas, plot, area);
  canvas.text(plot.title, kPad, kPad + 14, kTitle);
  canvas.text(plot.y.label, kPad, top - 8, kText);
  canvas.text(plot.x.label, area.x + (area.width - text_size(plot.x.label, kText).width) / 2, bottom + 40, kText);
  return canvas.image(plot);
}

}  // namespace uvic
