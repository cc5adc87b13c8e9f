#include "app/train_log.h"

#include <utility>

namespace uvic {

TrainLog::TrainLog(const std::filesystem::path& run, const RunConfig& config, const Context& ctx,
                   const TrainState& state)
    : config_(config), lines_(run, config, ctx, state.step, state.world_size), timed_from_(state.step) {}

double TrainLog::step(const StepResult& result, const DataReport& data, TrainState& state) {
  const auto now = Clock::now();
  seconds_ += std::chrono::duration<double>(now - std::exchange(began_, now)).count();
  state.loss_sum += result.loss, ++state.loss_steps;
  for (size_t q = 0; q < result.levels.sum.size(); ++q) {
    state.level_loss_sum[q] += result.levels.sum[q];
    state.level_loss_samples[q] += result.levels.samples[q];
  }
  if (state.step % config_.train.log_every != 0 && state.step != config_.train.max_steps) return result.loss;
  const double steps = static_cast<double>(state.step - timed_from_);
  StepReport line{.step = state.step,
                  .loss = std::exchange(state.loss_sum, 0) / static_cast<double>(std::exchange(state.loss_steps, 0)),
                  .grad_norm = result.grad_norm,
                  .lr = result.lr,
                  .seconds = std::exchange(seconds_, 0) / steps,
                  .waited = (data.wait_seconds - waited_) / steps,
                  .bad_images = data.bad_images};
  for (size_t q = 0; q < line.loss_by_level.size(); ++q)  // 0 / 0 is NaN: no sample
    line.loss_by_level[q] = std::exchange(state.level_loss_sum[q], 0) / std::exchange(state.level_loss_samples[q], 0);
  lines_.write(line);
  timed_from_ = state.step, waited_ = data.wait_seconds;
  return line.loss;
}

}  // namespace uvic
