#pragma once

#include <filesystem>

#include "app/run_images.h"
#include "app/train_step.h"

namespace uvic {

// The preview grids of a run: config.sample.count images of the EMA weights, a class a column where there are ten or
// fewer.
class Previews {
 public:
  // images: null if none can be made. Both must outlive this.
  Previews(const RunConfig& config, const RunImages* images) : config_(config), images_(images) {}

  bool due(int64_t step) const;
  // Writes a grid to path. The store goes through Role::ema and is back in Role::master after.
  void write(Context& ctx, TrainedModel& model, const Schedule& schedule, const std::filesystem::path& path) const;

 private:
  const RunConfig& config_;
  const RunImages* images_;
};

}  // namespace uvic
