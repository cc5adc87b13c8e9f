#include "app/run_folder.h"

#include <cstdio>

#include "model/io/file.h"

namespace uvic {
namespace fs = std::filesystem;
namespace {

constexpr const char* kOtherFolder = "free some space or choose another folder with -o";

}  // namespace

std::string step_name(int64_t step) {
  char name[32];
  std::snprintf(name, sizeof name, "step-%08lld", static_cast<long long>(step));
  return name;
}

fs::path RunFolder::checkpoint_to_resume(const std::string& how) const {
  if (how == "auto") {
    const auto newest = newest_checkpoint(path_, [](const fs::path& folder, const std::string& why) {
      std::fprintf(stderr, "uvic-train: refused %s: %s\n", folder.c_str(), why.c_str());
    });
    UVIC_CHECK(newest || list_checkpoints(path_).empty(), path_.string(),
               ": holds checkpoints, but no whole one; to start afresh, move them away");
    return newest.value_or(fs::path{});
  }
  if (how == "never") {
    UVIC_CHECK(list_checkpoints(path_).empty(), path_.string(),
               ": holds checkpoints of an earlier run; choose another folder, or --resume auto");
    return {};
  }
  if (fs::is_directory(how)) return how;
  const bool number = !how.empty() && how.size() < 16 && how.find_first_not_of("0123456789") == std::string::npos;
  UVIC_CHECK(number, "--resume ", how, ": not auto, never, a step or a checkpoint's folder");
  const fs::path folder = path_ / step_name(std::stoll(how));
  UVIC_CHECK(fs::is_directory(folder), "--resume ", how, ": there is no ", folder.string());
  if (const fs::path newest = list_checkpoints(path_).front(); newest != folder)
    std::fprintf(stderr, "uvic-train: %s stays, and --resume auto takes it: move away what is later than %s\n",
                 newest.c_str(), folder.filename().c_str());
  return folder;
}

TrainState RunFolder::resume(Context& ctx, const std::string& how, ParamStore& store) {
  checkpoint_ = checkpoint_to_resume(how);
  if (checkpoint_.empty()) return {.seed = config_.train.seed, .ema_rates = config_.train.ema_rate};
  const bool released = fs::exists(checkpoint_ / "nnet.pth");
  TrainState state;
  try {
    state = released ? load_released_checkpoint(ctx, checkpoint_, store)
                     : load_checkpoint(ctx, checkpoint_, store, config_.train.ema_rate);
    UVIC_CHECK(released || state.seed == config_.train.seed, checkpoint_.string(), ": was trained with seed ",
               state.seed, ", the config says ", config_.train.seed);
  } catch (const Error& e) {
    throw Error(e.what(),
                e.hint().empty() ? "a run goes on with its own config; a new one needs another folder: -o" : e.hint());
  }
  if (released) state.samples = state.step * config_.train.batch_size;
  state.seed = config_.train.seed;
  state.ema_rates = config_.train.ema_rate;
  saved_step_ = state.step;
  return state;
}

void RunFolder::begin(const TrainState& state) {
  std::error_code error;
  fs::create_directories(path_, error);
  if (error) throw Error(concat(path_.string(), ": cannot make this folder: ", error.message()), kOtherFolder);
  try {
    const std::string yaml = dump_config(config_);
    AtomicFile file(path_ / "config.yaml");  // a run may be started from its own: a full disk must not cost it
    file.write(yaml.data(), yaml.size());
    file.commit();
  } catch (const Error& e) {
    throw Error(e.what(), kOtherFolder);
  }
  prune_checkpoints(path_, 0, 0, state.step);
}

void RunFolder::save(Context& ctx, const ParamStore& store, ModelInfo& info, const TrainState& state) {
  if (saved_step_ == state.step) return;
  info.step = state.step;
  checkpoint_ = save_checkpoint(ctx, path_, store, info, state);
  saved_step_ = state.step;
  prune_checkpoints(path_, config_.train.keep_last, config_.train.keep_every, state.step);
}

}  // namespace uvic
