#pragma once

#include <string>
#include <vector>

namespace uvic {

// One axis of a plot: its range, widened to where it looks well, and its ticks.
class AxisScale {
 public:
  struct Tick {
    double value = 0;
    std::string label;  // empty: a grid line only
  };

  // low <= high, both finite, and positive if log. At most about `most` labelled ticks.
  AxisScale(double low, double high, bool log, int most);

  // Where value lies: 0 at the axis' low end, 1 at its high end.
  double at(double value) const;
  const std::vector<Tick>& ticks() const { return ticks_; }

 private:
  void linear_ticks(double low, double high, int most);
  void log_ticks(int most);

  bool log_;
  double low_, high_;  // of the value, or of its decimal logarithm
  std::vector<Tick> ticks_;
};

// "0", "0.025", "1500", "20k", "1.5M", "1e-5". largest: of the axis, whose labels share one unit: "2k" beside "20k".
std::string tick_label(double value, double largest);

}  // namespace uvic
