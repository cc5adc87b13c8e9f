#pragma once

#include <filesystem>
#include <optional>

#include "app/run_images.h"
#include "app/train_step.h"
#include "app/training_data.h"

namespace uvic {

// The preview grids of a run: config.sample.count images of the EMA weights, a class or a prompt a column where there
// are ten or fewer. A text model shows config.sample.prompts or, without these, captions of data.
class Previews {
 public:
  // images: null if none can be made. info: of the model in the making; run: its folder. That the texts cannot be had
  // is said on stderr, and no reason not to train. config and images must outlive this.
  Previews(Context& ctx, const RunConfig& config, const ModelInfo& info, const std::filesystem::path& run,
           const TrainingData& data, const RunImages* images);

  // Whether config asks for a grid after so many steps.
  static bool due(const RunConfig& config, int64_t step);
  bool possible() const { return images_ != nullptr; }
  // Writes a grid to path. The store goes through Role::ema and is back in Role::master after.
  void write(Context& ctx, TrainedModel& model, const Schedule& schedule, const std::filesystem::path& path) const;

 private:
  int columns() const;  // 0: as many as rows

  const RunConfig& config_;
  const RunImages* images_;
  std::optional<TextContext> texts_;
};

}  // namespace uvic
