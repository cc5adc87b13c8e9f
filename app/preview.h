#pragma once

#include <filesystem>

#include "app/config.h"
#include "app/generator.h"
#include "app/train_step.h"
#include "sampler/schedule.h"

namespace uvic {

// How config.sample says that images are made while it trains.
GeneratorOptions preview_options(const RunConfig& config);

// Samples config.sample.count images of the EMA weights, from the same seeds and labels every time, and writes them to
// path as one grid, a class a column where there are ten or fewer. Does nothing for count 0, and for networks it cannot
// show: text conditions, or other than three channels. The store goes through Role::ema and is back in Role::master
// after; the tensors lie in ctx's arena.
void write_preview(Context& ctx, const RunConfig& config, TrainedModel& model, const Schedule& schedule,
                   const std::filesystem::path& path);

}  // namespace uvic
