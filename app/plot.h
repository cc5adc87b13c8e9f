#pragma once

#include <string>
#include <vector>

#include "app/image_io.h"

namespace uvic {

struct PlotSeries {
  std::string label;         // in the legend; empty: not there
  std::vector<double> x, y;  // points in the order they are joined; where one is not finite, the line is broken
  bool markers = false;      // a dot at every point
  bool faint = false;        // thin and pale, in the colour of the next series: raw values behind their mean
};

struct PlotAxis {
  std::string label;
  bool log = false;  // decades; points <= 0 are left out
};

// A line plot: axes with ticks at round numbers, a grid, a legend where there are labels. Colours come from a fixed
// list that colour-blind readers can tell apart.
struct Plot {
  std::string title;
  PlotAxis x, y;
  std::vector<PlotSeries> series;
  int width = 960, height = 540;  // pixels; at least 160 x 120
};

// Throws Error if x and y of a series differ in length, if no point can be drawn, if the plot is too small, or if uvic
// was built without OpenCV.
Image draw_plot(const Plot& plot);

}  // namespace uvic
