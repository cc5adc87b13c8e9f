#include "app/plot_axis.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace uvic {
namespace {

constexpr double kMargin = 0.03;  // of the axis, beyond the outermost points

// The smallest of 1, 2, 5, 10 times a power of ten that is at least `least`.
double round_step(double least) {
  const double power = std::pow(10, std::floor(std::log10(least)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (factor * power >= least * (1 - 1e-9)) return factor * power;
  return 10 * power;
}

}  // namespace

std::string tick_label(double value, double largest) {
  char text[32];
  const double size = std::abs(value);
  const char* suffix = size == 0 || largest >= 1e10 ? "" : largest >= 2e6 ? "M" : largest >= 1e4 ? "k" : "";
  const double unit = *suffix == 'M' ? 1e6 : *suffix == 'k' ? 1e3 : 1;
  const bool tiny = size > 0 && size < 1e-4;
  std::snprintf(text, sizeof text, tiny ? "%.0e" : "%.6g%s", value / unit, suffix);
  std::string out = text;
  if (const size_t zero = out.find("e-0"); zero != std::string::npos) out.erase(zero + 2, 1);
  return out;
}

AxisScale::AxisScale(double low, double high, bool log, int most) : log_(log), low_(low), high_(high) {
  if (log) low_ = std::log10(low), high_ = std::log10(high);
  const double size = std::max(std::abs(low), std::abs(high)), least = log ? 0.1 : size > 0 ? 1e-3 * size : 1;
  const bool level = high_ - low_ < least;
  if (level) {  // a level line, or a single point, lies in the middle
    const double middle = (low_ + high_) / 2;
    low_ = middle - least, high_ = middle + least;
  }
  const double margin = kMargin * (high_ - low_);
  // From 0 where the points begin near it: 0 is where a reader looks for it.
  const bool from_zero = !log && !level && low >= 0 && low < 0.2 * high;
  high_ += margin;
  low_ = from_zero ? 0 : low_ - margin;
  if (log)
    log_ticks(most);
  else
    linear_ticks(low_, high_, most);
}

double AxisScale::at(double value) const { return ((log_ ? std::log10(value) : value) - low_) / (high_ - low_); }

void AxisScale::linear_ticks(double low, double high, int most) {
  const double step = round_step((high - low) / std::max(1, most));
  for (double k = std::ceil(low / step); k * step <= high; ++k) {
    const double value = k == 0 ? 0 : k * step;
    ticks_.push_back({value, tick_label(value, std::max(std::abs(low), std::abs(high)))});
  }
}

void AxisScale::log_ticks(int most) {
  const double decades = high_ - low_;
  if (decades < 0.5) return linear_ticks(std::pow(10, low_), std::pow(10, high_), most);
  const int stride = std::max(1, static_cast<int>(std::ceil(decades / most)));
  for (int e = static_cast<int>(std::floor(low_)); e <= high_; ++e) {
    for (int digit = 1; digit < 10; ++digit) {
      const double value = digit * std::pow(10, e), where = std::log10(value);
      if (where < low_ || where > high_ || (digit > 1 && decades > 4)) continue;
      const bool labelled = digit == 1 ? e % stride == 0 : decades < 2 && (digit == 2 || digit == 5);
      ticks_.push_back({value, labelled ? tick_label(value, value) : ""});
    }
  }
}

}  // namespace uvic
