#pragma once

#include "app/config.h"
#include "app/training_data.h"
#include "model/model_file.h"
#include "model/optimizer.h"

namespace uvic {

// What a run's config says to those below, who know no config.
OptimizerConfig optimizer_of(const TrainConfig& config);

// What the run's model says about itself. What the config does not say of latents, their index does.
ModelInfo info_of(const RunConfig& config, const TrainingData& data);

}  // namespace uvic
