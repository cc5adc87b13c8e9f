#include "sampler/time_grid.h"

#include <cmath>
#include <iterator>

#include "kernels/core/error.h"

namespace uvic {
namespace {

constexpr const char* kNames[] = {"time", "logsnr", "quadratic", "karras", "leading", "linspace", "trailing"};
constexpr double kKarrasRho = 7;

// A quantity that a spacing makes uniform, as a function of t, and back.
double straighten(const Schedule& s, Spacing spacing, double t) {
  switch (spacing) {
    case Spacing::logsnr: return s.at(t).lambda;
    case Spacing::quadratic: return std::sqrt(t);
    case Spacing::karras: return std::exp(-s.at(t).lambda / kKarrasRho);
    default: return t;
  }
}

double bend(const Schedule& s, Spacing spacing, double u) {
  switch (spacing) {
    case Spacing::logsnr: return s.inverse_lambda(u);
    case Spacing::quadratic: return u * u;
    case Spacing::karras: return s.inverse_lambda(-kKarrasRho * std::log(u));
    default: return u;
  }
}

}  // namespace

Spacing spacing_named(const std::string& name) {
  for (size_t i = 0; i < std::size(kNames); ++i)
    if (name == kNames[i]) return static_cast<Spacing>(i);
  fail("spacing \"", name, "\": must be one of time, logsnr, quadratic, karras, leading, linspace, trailing");
}

const char* name_of(Spacing spacing) { return kNames[static_cast<size_t>(spacing)]; }

std::vector<double> time_grid(const Schedule& schedule, Spacing spacing, int count, double t_start, double t_end) {
  UVIC_CHECK(spacing < Spacing::leading, "time_grid: spacing ", name_of(spacing), " counts whole training steps");
  UVIC_CHECK(count >= 1, "time_grid: ", count, " points");
  UVIC_CHECK(0 < t_end && t_end < t_start && t_start <= 1, "time_grid: t_end must be in (0, ", t_start, "), got ",
             t_end);
  std::vector<double> grid{t_start};
  const double first = straighten(schedule, spacing, t_start), last = straighten(schedule, spacing, t_end);
  UVIC_CHECK(std::isfinite(first), "spacing ", name_of(spacing),
             " has no place for a start without any signal (zero terminal SNR); choose time or quadratic");
  for (int k = 1; k + 1 < count; ++k) grid.push_back(bend(schedule, spacing, first + (last - first) * k / (count - 1)));
  if (count > 1) grid.push_back(t_end);
  return grid;
}

std::vector<double> knot_grid(const Schedule& schedule, Spacing spacing, int count, double t_start, int offset) {
  const int all = schedule.knots();
  UVIC_CHECK(all > 0, "knot_grid: the schedule is continuous and has no training steps");
  const int m = static_cast<int>(std::lround(t_start * all));
  UVIC_CHECK(1 <= count && count <= m, "steps must be 1 to ", m, ", the training steps of this schedule",
             m < all ? " below the start" : "", "; got ", count);
  std::vector<double> grid;
  for (int k = count - 1; k >= 0; --k) {
    double index = 0;  // std::rint: ties to even, as the published code has it
    if (spacing == Spacing::leading) {
      index = k * (m / count) + offset;
    } else if (spacing == Spacing::trailing) {
      index = std::rint((k + 1) * (static_cast<double>(m) / count)) - 1;
    } else {
      UVIC_CHECK(spacing == Spacing::time, "knot_grid: no spacing ", name_of(spacing));
      index = count == 1 ? m - 1 : std::rint(k * (m - 1.0) / (count - 1));
    }
    UVIC_CHECK(index < m, "steps_offset ", offset, " puts training step ", index, " beyond the last, ", m - 1);
    grid.push_back((index + 1) / all);
  }
  return grid;
}

}  // namespace uvic
