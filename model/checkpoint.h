#pragma once

#include <array>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "model/model_file.h"

namespace uvic {

// The state of a training run beside its weights.
struct TrainState {
  int64_t step = 0;  // steps done
  uint64_t seed = 0;
  int64_t samples = 0;  // training samples drawn: the data position
  int world_size = 1;
  // Of the steps since the last line of metrics.jsonl: a resumed run's next line covers them too.
  double loss_sum = 0;
  int64_t loss_steps = 0;
  std::vector<double> ema_rates;  // of the averages; empty in checkpoints from before there could be several
  std::array<double, 4> level_loss_sum{}, level_loss_samples{};  // by quarter of the noise levels
};

// Writes run/step-<8 digits>/ with model.safetensors (EMA), model-ema-<rate>.safetensors of every further average,
// state.safetensors (master, each ema, m, v) and state.json (with a checksum of each file): into a temporary folder,
// fsynced, then renamed, so that a folder with that name is always whole. Returns it. Throws Error naming the path
// (full disk, no permission); older checkpoints are untouched then. The file of a divided store is that of a whole one.
std::filesystem::path save_checkpoint(Context& ctx, const std::filesystem::path& run, const ParamStore& store,
                                      const ModelInfo& info, const TrainState& state);

// Reads one back into every role of store, after verifying it. Averages are found by ema_rates, those of store's: one
// that the checkpoint lacks goes on from its first. Throws Error if it is not whole or does not fit.
TrainState load_checkpoint(Context& ctx, const std::filesystem::path& folder, ParamStore& store,
                           const std::vector<double>& ema_rates = {});

// The step in a name like "step-00012000"; nothing for any other name.
std::optional<int64_t> checkpoint_step(const std::filesystem::path& folder);

// Throws Error saying what is wrong with a checkpoint folder: a missing file, a size, a checksum.
void verify_checkpoint(const std::filesystem::path& folder);

// Checkpoints in run by falling step, whole or not.
std::vector<std::filesystem::path> list_checkpoints(const std::filesystem::path& run);

// The newest whole checkpoint in run, if any; refused(folder, why) is called for each newer one that is not whole.
std::optional<std::filesystem::path> newest_checkpoint(
    const std::filesystem::path& run,
    const std::function<void(const std::filesystem::path&, const std::string&)>& refused);

// Removes what killed saves left behind in run, and of the checkpoints up to step all but the newest keep_last (0:
// keeps all) and those of multiples of keep_every (0: none). Later ones are not this run's, which was resumed before
// them.
void prune_checkpoints(const std::filesystem::path& run, int keep_last, int64_t keep_every, int64_t step);

// Reads a folder that U-ViT's TrainState.save wrote (step.pth, nnet.pth, nnet_ema.pth, optimizer.pth) into every role
// of store.
TrainState load_released_checkpoint(Context& ctx, const std::filesystem::path& folder, ParamStore& store);

}  // namespace uvic
