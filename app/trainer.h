#pragma once

#include <csignal>
#include <filesystem>
#include <string>

#include "app/config.h"
#include "app/progress.h"
#include "app/world.h"
#include "kernels/core/context.h"

namespace uvic {

struct TrainRequest {
  RunConfig config;
  std::filesystem::path out;    // the run's folder
  std::string resume = "auto";  // auto: the newest whole checkpoint, if any; never; a step; or a checkpoint's folder
  Device device;
  Progress::Style progress = Progress::Style::automatic;
  const volatile std::sig_atomic_t* stop = nullptr;  // becomes non-zero: save and return
  World world;  // processes that train together: each takes its share of every batch; the first alone writes
};

struct TrainOutcome {
  int64_t step = 0;                  // steps done in all
  std::filesystem::path checkpoint;  // the last one written
  double loss = 0;                   // of the last step
  bool interrupted = false;
};

// Trains until config.train.max_steps or until *stop, and leaves in out: config.yaml (resolved), metrics.jsonl,
// samples/step-<8 digits>.png and the checkpoints. Every draw is keyed by (seed, step, sample index), so a run that was
// killed and resumed ends with the same bits as one that was not. Throws Error; what was saved before stays. Processes
// that train together all call this, with the same request but for world.rank.
TrainOutcome train(const TrainRequest& request);

}  // namespace uvic
