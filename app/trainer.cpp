#include "app/trainer.h"

#include "app/dataset.h"
#include "app/loaded_model.h"
#include "app/preview.h"
#include "app/run_folder.h"
#include "app/train_log.h"
#include "app/train_step.h"
#include "app/training_draws.h"

namespace uvic {
namespace fs = std::filesystem;
namespace {

OptimizerConfig optimizer_of(const TrainConfig& c) {
  return {.lr = c.lr,
          .beta1 = c.beta1,
          .beta2 = c.beta2,
          .eps = c.eps,
          .weight_decay = c.weight_decay,
          .warmup_steps = c.warmup_steps,
          .lr_schedule = c.lr_schedule == "cosine" ? LrSchedule::cosine : LrSchedule::constant,
          .max_steps = c.max_steps,
          .grad_clip = c.grad_clip,
          .ema_rate = c.ema_rate};
}

void check_classes(const Dataset& data, const UViCConfig& model) {
  if (model.num_classes <= 0) return;
  UVIC_CHECK(data.classes() > 0, data.path(), ": has no classes, but model.num_classes is ", model.num_classes);
  UVIC_CHECK(data.classes() == model.real_classes(), data.path(), ": has ", data.classes(),
             " classes, but model.num_classes is ", model.num_classes, model.null_class ? " with" : " without",
             " a null class: it must be ", data.classes() + (model.null_class ? 1 : 0));
}

// Models are published: theirs names no folder of the machine it was trained on.
RunConfig without_own_folders(RunConfig config) {
  const fs::path data = config.data.path;
  if (data.is_absolute()) config.data.path = data.filename().string();
  return config;
}

// One run's moving parts, for the length of train().
class Run {
 public:
  explicit Run(const TrainRequest& request);
  TrainOutcome loop();

 private:
  StepResult step();
  bool stopped() const { return request_.stop && *request_.stop; }
  bool last() const { return state_.step == config_.train.max_steps; }
  void save() { folder_.save(ctx_, model_.store, info_, state_); }

  const TrainRequest& request_;
  const RunConfig& config_;
  RunFolder folder_;
  Dataset data_;
  Context ctx_;
  TrainedModel model_;
  ModelInfo info_;
  Schedule schedule_;
  TrainingDraws draws_;
  TrainState state_;
  Progress progress_;
  TrainLog log_;
  BatchLoader loader_;
};

Run::Run(const TrainRequest& request)
    : request_(request),
      config_(request.config),
      folder_(request.out, config_),
      data_(config_.data),
      ctx_({.device = request.device, .threads = config_.train.threads}),
      model_((check_classes(data_, config_.model), ctx_), config_.model, dtype_of_name(config_.train.dtype),
             config_.train.seed, config_.train.init_score),
      info_{.config = config_.model,
            .schedule = config_.diffusion.schedule,
            .prediction = config_.diffusion.prediction,
            .class_names = config_.model.num_classes > 0 ? data_.class_names() : std::vector<std::string>{},
            .train_config = dump_config(without_own_folders(config_))},
      schedule_(schedule_of(config_.diffusion.schedule)),
      draws_(config_, schedule_),
      state_(folder_.resume(ctx_, request.resume, model_.store)),
      progress_("train", "step", config_.train.max_steps, request.progress, state_.step),
      log_(request.out, config_, ctx_, state_),
      loader_(data_, config_.data,
              {.batch_size = config_.train.batch_size,
               .image_size = config_.model.img_size,
               .seed = config_.train.seed,
               .start_step = state_.step}) {
  model_.recompute = config_.train.recompute;
  folder_.begin(state_);
  if (state_.step > 0) progress_.say(concat("resumed at step ", state_.step, " from ", folder_.checkpoint().string()));
}

StepResult Run::step() {
  ctx_.arena().reset();
  const Batch batch = loader_.next();
  try {
    return train_step(ctx_, model_, draws_.draw(ctx_, batch, state_.step), prediction_of(config_.diffusion.prediction),
                      optimizer_of(config_.train), state_.step + 1);
  } catch (const Error& e) {
    const std::string scope = ctx_.take_failed_scope();
    throw Error(concat(e.what(), scope.empty() ? "" : " (in " + scope + ")"),
                folder_.checkpoint().empty() ? "nothing was saved yet; a smaller train.lr may help"
                                             : concat("the last good checkpoint is ", folder_.checkpoint().string()));
  }
}

TrainOutcome Run::loop() {
  double loss = 0;
  while (state_.step < config_.train.max_steps && !stopped()) {
    const StepResult result = step();
    ++state_.step;
    loss = log_.step(result, loader_, state_);
    char note[32];
    std::snprintf(note, sizeof note, "loss %.4f", loss);
    progress_.update(state_.step, note);
    if (config_.sample.every > 0 && (last() || state_.step % config_.sample.every == 0)) {
      const fs::path grid = folder_.path() / "samples" / (step_name(state_.step) + ".png");
      write_preview(ctx_, config_, model_, schedule_, grid);
      log_.preview(state_.step, grid);
    }
    if (last() || state_.step % config_.train.save_every == 0) save();
  }
  const bool interrupted = state_.step < config_.train.max_steps;
  if (interrupted) save();
  progress_.finish();
  for (const std::string& bad : loader_.bad_examples()) std::fprintf(stderr, "uvic-train: skipped %s\n", bad.c_str());
  return {state_.step, folder_.checkpoint(), loss, interrupted};
}

}  // namespace

TrainOutcome train(const TrainRequest& request) {
  if (request.config.data.format == "latents")
    throw Error("data.format is latents: training on latents and texts is not built yet",
                "--dry-run tells what such a run would cost; images can be trained on");
  return Run(request).loop();
}

}  // namespace uvic
