#include "app/train_log.h"

#include <utility>

namespace uvic {

TrainLog::TrainLog(const std::filesystem::path& run, const RunConfig& config, const TrainState& state)
    : config_(config), metrics_(run / "metrics.jsonl", state.step > 0 ? state.step : -1), timed_from_(state.step) {}

double TrainLog::step(const StepResult& result, const DataReport& data, TrainState& state) {
  state.loss_sum += result.loss, ++state.loss_steps;
  if (state.step % config_.train.log_every != 0 && state.step != config_.train.max_steps) return result.loss;
  const double loss = std::exchange(state.loss_sum, 0) / static_cast<double>(std::exchange(state.loss_steps, 0));
  const double steps = static_cast<double>(state.step - timed_from_);
  const double seconds = std::chrono::duration<double>(Clock::now() - start_).count() / steps;
  const double waited = (data.wait_seconds - waited_) / steps;
  const double images = static_cast<double>(config_.train.batch_size) / seconds;
  metrics_.write(state.step, {{"loss", loss},
                              {"grad_norm", result.grad_norm},
                              {"lr", result.lr},
                              {"images_per_s", images},
                              {"tflops", 3 * config_.model.forward_flops() * images / 1e12},
                              {"data_wait", waited / seconds},
                              {"bad_images", data.bad_images}});
  timed_from_ = state.step, waited_ = data.wait_seconds, start_ = Clock::now();
  return loss;
}

}  // namespace uvic
