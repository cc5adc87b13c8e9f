#pragma once

#include <filesystem>
#include <string>

#include "app/config.h"
#include "app/train_step.h"
#include "model/checkpoint.h"

namespace uvic {

std::string step_name(int64_t step);  // "step-00012000"

// The folder of a training run: what it goes on from, and what it leaves.
class RunFolder {
 public:
  // config must outlive this.
  RunFolder(const std::filesystem::path& path, const RunConfig& config) : path_(path), config_(config) {}

  // Reads the checkpoint that how names (auto: the newest whole one, if any, and stderr says which newer ones were
  // refused and why; never; a step; or a folder) into every role of store. Returns its state, or that of a new run.
  // Throws Error if there is none, or if it is not of this config's run.
  TrainState resume(Context& ctx, const std::string& how, ParamStore& store);

  // Makes the folder, writes config.yaml (resolved) and removes what killed saves left behind. state: as resumed.
  void begin(const TrainState& state);

  // Writes state's checkpoint unless it was the last to be read or written, then removes those that train.keep_last and
  // train.keep_every do not keep. Sets info.step.
  void save(Context& ctx, const ParamStore& store, ModelInfo& info, const TrainState& state);

  const std::filesystem::path& path() const { return path_; }
  const std::filesystem::path& checkpoint() const { return checkpoint_; }  // the last read or written; empty: none

 private:
  std::filesystem::path checkpoint_to_resume(const std::string& how) const;  // empty: none

  std::filesystem::path path_;
  const RunConfig& config_;
  std::filesystem::path checkpoint_;
  int64_t saved_step_ = -1;
};

}  // namespace uvic
