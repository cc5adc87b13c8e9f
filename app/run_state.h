#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "app/log.h"
#include "app/plot.h"

namespace uvic {

// What a training run's folder tells about it, while it runs or afterwards.
struct RunState {
  struct Checkpoint {
    std::filesystem::path path;  // empty: there is none
    bool whole = false;
    std::string why;  // not whole
    double loss = 0;  // around its step; NaN: unknown
  };

  std::filesystem::path run;
  int64_t step = 0;       // of the last line or the last checkpoint
  int64_t max_steps = 0;  // 0: unknown, and why: config_error
  int64_t batch_size = 0;
  int64_t images_seen = 0;  // by steps of any batch size, as the last checkpoint counts them
  std::string config_error;
  double age = 0;                                     // seconds since the last line was written
  int64_t bad_lines = 0;                              // of metrics.jsonl that are not ours: torn, damaged
  std::vector<double> steps;                          // of each line
  std::map<std::string, std::vector<double>> values;  // by field: "loss"; NaN where a line has none
  Checkpoint last, best;                              // best: the one with the lowest loss around its step

  // Mean of the field over the last lines; NaN if there is none.
  double recent(const std::string& field) const;
  // Of the last line that has it, for not every line has every field; NaN if there is none.
  double newest(const std::string& field) const;
  double seconds_left() const;  // NaN: unknown
};

// Whether folder is that of a training run.
bool is_run(const std::filesystem::path& folder);

// Reads run/metrics.jsonl, config.yaml and the checkpoints, of which the last and the best one are verified. What is
// missing or damaged is left out or named in the result. Throws Error naming what cannot be read.
RunState read_run(const std::filesystem::path& run);

// The state as named values, for the eye or as JSON.
LogFields describe(const RunState& state);
// The loss against the step, and its running mean.
Plot loss_plot(const RunState& state);

}  // namespace uvic
