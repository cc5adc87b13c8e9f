#include "app/run_steps.h"

#include "app/loaded_model.h"
#include "app/train_settings.h"

namespace uvic {
RunSteps::RunSteps(Context& ctx, const RunConfig& config, TrainedModel& model, const TrainingDraws& draws,
                   BatchLoader& loader, const Processes& processes, GradientSum& gradients, Rows rows)
    : ctx_(ctx),
      config_(config),
      model_(model),
      draws_(draws),
      loader_(loader),
      processes_(processes),
      gradients_(gradients),
      rows_(rows),
      optimizer_(optimizer_of(config.train)),
      feed_(ctx) {}

void RunSteps::give(int64_t step) {
  Given given{.step = step, .batch = loader_.next(), .material = {}, .pending = nullptr};
  given.material = draws_.bring(feed_, given.batch, step - 1);
  given_.push_back(std::move(given));
  given_.back().pending = begin(given_.back(), PendingStep::Mode::queued);
}

StepResult RunSteps::read() {
  Given& first = given_.front();
  std::optional<StepResult> result = first.pending->read();
  if (!result) begin(first, PendingStep::Mode::careful);  // throws
  given_.pop_front();
  return std::move(*result);
}

std::unique_ptr<PendingStep> RunSteps::begin(const Given& given, PendingStep::Mode mode) {
  const Rows all{0, rows_.count()};
  const int parts = config_.train.accumulate;
  auto pending = std::make_unique<PendingStep>(ctx_, model_, optimizer_, given.step, all.count(), mode);
  for (int i = 0; i < parts; ++i) {
    ctx_.arena().reset();
    const Rows rows = all.part(i, parts);
    const StepInputs in = draws_.draw(ctx_, given.material, rows);
    const double share = static_cast<double>(rows.count()) / config_.train.batch_size;
    GradientUse use;  // only the last part's gradients are the step's
    if (i + 1 == parts && !processes_.alone())
      use = {.done = [this](int64_t begin, int64_t end) { gradients_.done(begin, end); },
             .finish = [this] { gradients_.finish(); },
             .only_queues = gradients_.between_gpus()};
    pending->add(in, prediction_of(config_.diffusion.prediction), share, use);
  }
  pending->finish();
  return pending;
}

}  // namespace uvic
