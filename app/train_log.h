#pragma once

#include <chrono>
#include <filesystem>

#include "app/config.h"
#include "app/run_log.h"
#include "app/train_step.h"
#include "model/checkpoint.h"

namespace uvic {

// What the data set has done to the run so far.
struct DataReport {
  double wait_seconds = 0;  // that steps waited for data, in total
  int64_t bad_images = 0;
};

// Where the numbers of steps become lines of a RunLog, one every train.log_every steps and one at the end. A line gives
// the mean loss of the steps since the line before, far less noisy than one step's, and times of those since then that
// this process has done.
class TrainLog {
 public:
  // Goes on after state.step in the files of run. config and ctx must outlive the log.
  TrainLog(const std::filesystem::path& run, const RunConfig& config, const Context& ctx, const TrainState& state);

  // Before every step that begins after the last one was reported: what passed since then, as a preview, an evaluation
  // or a save, is no step's time.
  void begin_step() { began_ = Clock::now(); }
  // After every step, which state.step counts already. Adds to state's sum of losses, and where a line is due, writes
  // it and starts the next sums. Returns the loss to show: the line's, or else the step's.
  double step(const StepResult& result, const DataReport& data, TrainState& state);
  // See RunLog.
  void preview(int64_t step, const std::filesystem::path& png) { lines_.preview(step, png); }
  void evaluation(int64_t step, const LogFields& found) { lines_.evaluation(step, found); }

 private:
  using Clock = std::chrono::steady_clock;

  const RunConfig& config_;
  RunLog lines_;
  int64_t timed_from_;  // the step of the last line, or that this process began at
  Clock::time_point began_ = Clock::now();
  double seconds_ = 0, waited_ = 0;  // of the steps since then; until then
};

}  // namespace uvic
