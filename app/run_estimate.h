#pragma once

#include <filesystem>
#include <string>

#include "app/config.h"
#include "kernels/core/context.h"
#include "model/memory.h"

namespace uvic {

// What a training run costs, known before it starts.
struct RunEstimate {
  int64_t parameters = 0;
  int tokens = 0;
  DType dtype = DType::f32;
  double step_flops = 0;         // multiply-adds x 2 of the matrix products of a step: three forwards
  int processes = 1;             // that train together
  TrainingMemory memory;         // of a step as configured, in each process
  double other_activations = 0;  // with train.recompute the other way round
  double divided_state = 0;      // bytes that train.shard_optimizer saves in each process, or would
  double machine_memory = 0;     // bytes; 0: unknown
  int64_t images = -1;           // of the data set; -1: it is not there, or cannot be counted
  std::string images_unknown;    // then: why
  int64_t steps_done = 0;        // of a run that is continued
  double matrix_rate = 0;        // of this device, see matrix_rate()
  int measured_batch = 0;        // images of the step that was timed; 0: none, for it would take long or much memory
  double step_seconds = 0;       // from that step's time an image, or else with all products at matrix_rate: the least
};

// Takes some seconds: measures matrix_rate and, where it takes about a second and little memory, a step of as many
// images as fit in that. out: the run's folder, which need not exist. Time is that of one process alone, however many
// there are. Throws Error for data of other classes than the model's.
RunEstimate estimate_run(const RunConfig& config, const ContextOptions& device, const std::filesystem::path& out = {},
                         int processes = 1);

// The lines that --dry-run prints, and its --json: one object.
std::string to_text(const RunEstimate& estimate, const RunConfig& config);
std::string to_json(const RunEstimate& estimate);

}  // namespace uvic
