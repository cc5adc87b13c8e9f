#include "sampler/dpm.h"

#include <algorithm>

namespace uvic {

std::vector<NoiseLevel> dpm_levels(const Run& run) {
  const SamplerOptions& o = run.options;
  const bool linspace = run.spacing == Spacing::linspace, to_clean = o.final_sigma == "zero" || linspace;
  std::vector<double> times;
  if (linspace) {
    times = knot_grid(run.schedule, Spacing::time, o.steps + 1, o.t_start, 0);
    times.pop_back();
  } else {
    times = time_grid(run.schedule, run.spacing, to_clean ? o.steps : o.steps + 1, o.t_start, o.t_end);
  }
  std::vector<NoiseLevel> levels;
  for (const double t : times) levels.push_back(run.schedule.at(t));
  if (to_clean) levels.push_back(o.final_sigma == "min" ? run.schedule.at(run.schedule.t_end()) : Schedule::clean());
  if (o.integer_labels)
    for (NoiseLevel& level : levels) level.label = std::rint(level.label);
  return levels;
}

int dpm_order(const Run& run, int step, const NoiseLevel& to) {
  // From so many steps on, the published programs do not lower the order at the end. DPM-Solver's documents 15, too.
  const int enough = run.spacing == Spacing::linspace ? 15 : 10;
  const SamplerOptions& o = run.options;
  if (to.sigma == 0) return 1;  // h is infinite: the result is f_0
  const int order = std::min(o.order, step + 1);
  return o.lower_order_final && o.steps < enough ? std::min(order, o.steps - step) : order;
}

}  // namespace uvic
