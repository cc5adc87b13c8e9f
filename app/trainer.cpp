#include "app/trainer.h"

#include <fstream>
#include <optional>
#include <utility>

#include "app/dataset.h"
#include "app/evaluation.h"
#include "app/loaded_model.h"
#include "app/log.h"
#include "app/preview.h"
#include "app/train_step.h"
#include "app/training_draws.h"
#include "model/checkpoint.h"

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

std::string step_name(int64_t step) {
  char name[32];
  std::snprintf(name, sizeof name, "step-%08lld", static_cast<long long>(step));
  return name;
}

// One run's moving parts, for the length of train().
// Models are published: theirs names no folder of the machine it was trained on.
RunConfig without_own_folders(RunConfig config) {
  const fs::path data = config.data.path;
  if (data.is_absolute()) config.data.path = data.filename().string();
  for (std::string* file : {&config.eval.stats, &config.eval.network})
    if (fs::path(*file).is_absolute()) *file = fs::path(*file).filename().string();
  return config;
}

class Run {
 public:
  explicit Run(const TrainRequest& request);
  TrainOutcome loop();

 private:
  TrainState resume();
  void save();
  void log(const StepResult& result, double seconds, double waited);
  bool stopped() const { return request_.stop && *request_.stop; }

  const TrainRequest& request_;
  const RunConfig& config_;
  Dataset data_;
  Context ctx_;
  TrainedModel model_;
  ModelInfo info_;
  Schedule schedule_;
  int64_t saved_step_ = -1;  // resume(), which makes state_, sets this and the next
  fs::path checkpoint_;
  TrainState state_;
  Progress progress_;
  MetricsLog metrics_;
  BatchLoader loader_;
  Processes processes_{World{}};
  Evaluation evaluation_;
};

Run::Run(const TrainRequest& request)
    : request_(request),
      config_(request.config),
      data_((fs::create_directories(request.out), config_.data)),
      ctx_({.device = request.device, .threads = config_.train.threads}),
      model_((check_classes(data_, config_.model), ctx_), config_.model, dtype_of_name(config_.train.dtype),
             config_.train.seed, config_.train.init_score),
      info_{.config = config_.model,
            .schedule = config_.diffusion.schedule,
            .prediction = config_.diffusion.prediction,
            .class_names = config_.model.num_classes > 0 ? data_.class_names() : std::vector<std::string>{},
            .train_config = dump_config(without_own_folders(config_))},
      schedule_(schedule_of(config_.diffusion.schedule)),
      state_(resume()),
      progress_("train", "step", config_.train.max_steps, request.progress, state_.step),
      metrics_(request.out / "metrics.jsonl", state_.step > 0 ? state_.step : -1),
      loader_(data_, config_.data,
              {.batch_size = config_.train.batch_size,
               .image_size = config_.model.img_size,
               .seed = config_.train.seed,
               .start_step = state_.step}),
      evaluation_(config_) {
  model_.recompute = config_.train.recompute;
  std::ofstream out(request.out / "config.yaml");
  out << dump_config(config_);
  out.close();
  UVIC_CHECK(out, (request.out / "config.yaml").string(), ": cannot be written");
  prune_checkpoints(request.out, 0, state_.step);
  if (state_.step > 0) progress_.say(concat("resumed at step ", state_.step, " from ", checkpoint_.string()));
}

TrainState Run::resume() {
  const std::string& how = request_.resume;
  std::optional<fs::path> from;
  if (how == "auto") {
    from = newest_checkpoint(request_.out, [](const fs::path& folder, const std::string& why) {
      std::fprintf(stderr, "uvic-train: refused %s: %s\n", folder.c_str(), why.c_str());
    });
    UVIC_CHECK(from || list_checkpoints(request_.out).empty(), request_.out.string(),
               ": holds checkpoints, but no whole one; to start afresh, move them away");
  } else if (how == "never") {
    UVIC_CHECK(list_checkpoints(request_.out).empty(), request_.out.string(),
               ": holds checkpoints of an earlier run; choose another folder, or --resume auto");
  } else if (fs::is_directory(how)) {
    from = how;
  } else {
    const bool number = !how.empty() && how.size() < 16 && how.find_first_not_of("0123456789") == std::string::npos;
    UVIC_CHECK(number, "--resume ", how, ": not auto, never, a step or a checkpoint's folder");
    from = request_.out / step_name(std::stoll(how));
    UVIC_CHECK(fs::is_directory(*from), "--resume ", how, ": there is no ", from->string());
  }
  if (!from) return {.seed = config_.train.seed};
  checkpoint_ = *from;
  const bool released = fs::exists(*from / "nnet.pth");
  TrainState state =
      released ? load_released_checkpoint(ctx_, *from, model_.store) : load_checkpoint(ctx_, *from, model_.store);
  UVIC_CHECK(released || state.seed == config_.train.seed, from->string(), ": was trained with seed ", state.seed,
             ", the config says ", config_.train.seed);
  UVIC_CHECK(released || state.samples == state.step * config_.train.batch_size, from->string(), ": has drawn ",
             state.samples, " samples in ", state.step, " steps; train.batch_size must stay ",
             state.samples / std::max<int64_t>(1, state.step));
  state.seed = config_.train.seed;
  saved_step_ = state.step;
  return state;
}

void Run::save() {
  if (saved_step_ == state_.step) return;
  info_.step = state_.step;
  state_.samples = state_.step * config_.train.batch_size;
  checkpoint_ = save_checkpoint(ctx_, request_.out, model_.store, info_, state_);
  saved_step_ = state_.step;
  prune_checkpoints(request_.out, config_.train.keep_last, state_.step);
}

void Run::log(const StepResult& result, double seconds, double waited) {
  const double images = static_cast<double>(config_.train.batch_size) / seconds;
  metrics_.write(state_.step, {{"loss", result.loss},
                               {"grad_norm", result.grad_norm},
                               {"lr", result.lr},
                               {"images_per_s", images},
                               {"tflops", 3 * config_.model.forward_flops() * images / 1e12},
                               {"data_wait", waited / seconds},
                               {"bad_images", loader_.bad_images()}});
}

TrainOutcome Run::loop() {
  const OptimizerConfig optimizer = optimizer_of(config_.train);
  const TrainingDraws draws(config_, schedule_);
  const Prediction prediction = prediction_of(config_.diffusion.prediction);
  using Clock = std::chrono::steady_clock;
  StepResult result;
  double waited_before = loader_.wait_seconds();
  int64_t timed_from = state_.step;  // the first step since the last line, in this process
  Clock::time_point start = Clock::now();
  while (state_.step < config_.train.max_steps && !stopped()) {
    ctx_.arena().reset();
    const Batch batch = loader_.next();
    try {
      result = train_step(ctx_, model_, draws.draw(ctx_, batch, state_.step), prediction, optimizer, state_.step + 1);
    } catch (const Error& e) {
      const std::string scope = ctx_.take_failed_scope();
      throw Error(concat(e.what(), scope.empty() ? "" : " (in " + scope + ")"),
                  checkpoint_.empty() ? "nothing was saved yet; a smaller train.lr may help"
                                      : concat("the last good checkpoint is ", checkpoint_.string()));
    }
    ++state_.step;
    // Lines give the mean of the steps since the line before, far less noisy than one step's loss.
    state_.loss_sum += result.loss, ++state_.loss_steps;
    if (state_.step % config_.train.log_every == 0 || state_.step == config_.train.max_steps) {
      const double timed = static_cast<double>(state_.step - timed_from);
      result.loss = std::exchange(state_.loss_sum, 0) / static_cast<double>(std::exchange(state_.loss_steps, 0));
      log(result, std::chrono::duration<double>(Clock::now() - start).count() / timed,
          (loader_.wait_seconds() - waited_before) / timed);
      timed_from = state_.step, waited_before = loader_.wait_seconds(), start = Clock::now();
    }
    char note[32];
    std::snprintf(note, sizeof note, "loss %.4f", result.loss);
    progress_.update(state_.step, note);
    const bool last = state_.step == config_.train.max_steps;
    if (config_.sample.every > 0 && (last || state_.step % config_.sample.every == 0))
      write_preview(ctx_, config_, model_, schedule_, request_.out / "samples" / (step_name(state_.step) + ".png"));
    if (evaluation_.due(state_.step)) metrics_.write(state_.step, evaluation_.run(ctx_, model_, schedule_, processes_));
    if (last || state_.step % config_.train.save_every == 0) save();
  }
  const bool interrupted = state_.step < config_.train.max_steps;
  if (interrupted) save();
  progress_.finish();
  for (const std::string& bad : loader_.bad_examples()) std::fprintf(stderr, "uvic-train: skipped %s\n", bad.c_str());
  return {state_.step, checkpoint_, result.loss, interrupted};
}

}  // namespace

TrainOutcome train(const TrainRequest& request) { return Run(request).loop(); }

std::string describe_run(const RunConfig& config) {
  ParamStore store({});
  const UViC net(store, config.model);
  const double params = static_cast<double>(store.count());
  const double step_flops = 3 * config.model.forward_flops() * config.train.batch_size;
  const DType dtype = dtype_of_name(config.train.dtype);
  const double bytes_each = 5 * 4 + (dtype == DType::f32 ? 0 : 2);  // master, gradient, two moments, EMA; working copy
  char text[256];
  std::snprintf(text, sizeof text,
                "%.2f M parameters, %d tokens, %.4f TFLOP a step of %d images, %.1f MiB of weights and state, %s\n",
                params / 1e6, config.model.tokens(), step_flops / 1e12, config.train.batch_size,
                params * bytes_each / (1 << 20), name_of(dtype));
  return text;
}

}  // namespace uvic
