#include "app/resample.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace uvic {
namespace {

double half_width(Filter filter) {
  switch (filter) {
    case Filter::box: return 0.5;
    case Filter::bilinear: return 1;
    case Filter::bicubic: return 2;
    case Filter::lanczos: return 3;
  }
  return 0;
}

double sinc(double x) { return x == 0 ? 1 : std::sin(x * std::numbers::pi) / (x * std::numbers::pi); }

double kernel(Filter filter, double x) {
  const double r = std::abs(x);
  switch (filter) {
    case Filter::box: return x > -0.5 && x <= 0.5 ? 1 : 0;
    case Filter::bilinear: return r < 1 ? 1 - r : 0;
    case Filter::bicubic: {  // Keys' cubic with a = -0.5, in Horner's form as Pillow has it
      constexpr double a = -0.5;
      if (r < 1) return ((a + 2) * r - (a + 3)) * r * r + 1;
      return r < 2 ? (((r - 5) * r + 8) * r - 4) * a : 0;
    }
    case Filter::lanczos: return x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0;
  }
  return 0;
}

int truncate(double v) { return static_cast<int>(v); }

}  // namespace

Taps make_taps(int in, int out, Filter filter) {
  const double ratio = static_cast<double>(in) / out, scale = std::max(ratio, 1.0),
               support = half_width(filter) * scale;
  Taps taps;
  taps.width = static_cast<int>(std::ceil(support)) * 2 + 1;
  taps.first.resize(static_cast<size_t>(out));
  taps.count.resize(static_cast<size_t>(out));
  taps.weight.resize(static_cast<size_t>(out) * static_cast<size_t>(taps.width));
  for (int i = 0; i < out; ++i) {
    const double center = (i + 0.5) * ratio;
    const int first = std::max(0, truncate(center - support + 0.5));
    const int count = std::min(in, truncate(center + support + 0.5)) - first;
    double* weight = &taps.weight[static_cast<size_t>(i) * static_cast<size_t>(taps.width)];
    double sum = 0;
    for (int j = 0; j < count; ++j) {
      // Pillow multiplies by the reciprocal; a division rounds differently and shows in the last bit of some pixels.
      weight[j] = kernel(filter, (j + first - center + 0.5) * (1.0 / scale));
      sum += weight[j];
    }
    if (sum != 0)
      for (int j = 0; j < count; ++j) weight[j] /= sum;
    taps.first[static_cast<size_t>(i)] = first;
    taps.count[static_cast<size_t>(i)] = count;
  }
  return taps;
}

}  // namespace uvic
