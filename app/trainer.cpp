#include "app/trainer.h"

#include <optional>

#include "app/cache_folder.h"
#include "app/divided_state.h"
#include "app/evaluation.h"
#include "app/gradient_sum.h"
#include "app/in_scope.h"
#include "app/loaded_model.h"
#include "app/preview.h"
#include "app/run_folder.h"
#include "app/run_steps.h"
#include "app/train_log.h"
#include "app/train_settings.h"
#include "app/train_step.h"
#include "app/training_data.h"
#include "app/training_draws.h"
#include "kernels/ops/pointwise.h"

namespace uvic {
namespace fs = std::filesystem;
namespace {

// One run's moving parts, for the length of train().
class Run {
 public:
  explicit Run(const TrainRequest& request);
  TrainOutcome loop();

 private:
  int threads() const { return config_.train.threads > 0 ? config_.train.threads : processes_.threads(); }
  Rows own_rows() const;
  TrainState resume();
  int64_t steps_given() const { return state_.step + steps_.unread(); }
  bool is_looked_at(int64_t step) const;
  template <class F>
  auto or_what_is_left(const F& f);
  std::string what_is_left() const;
  void end_step();
  DataReport share(StepResult& result);
  void after_step(const StepResult& result, const DataReport& data);
  void preview();
  bool stopped() const;
  bool last() const { return state_.step == config_.train.max_steps; }
  void save();

  const TrainRequest& request_;
  const RunConfig& config_;
  Processes processes_;
  Rows rows_;  // of every batch: this process's
  RunFolder folder_;
  TrainingData data_;
  Context ctx_;
  Exchange exchange_;
  DividedState divided_;
  TrainedModel model_;
  GradientSum gradients_;
  ModelInfo info_;
  Schedule schedule_;
  TrainingDraws draws_;
  TrainState state_;  // after the last step whose numbers were read
  Progress progress_;
  std::optional<TrainLog> log_;  // in the first process
  std::optional<RunImages> images_;
  std::optional<Previews> previews_;
  std::unique_ptr<BatchLoader> loader_;
  RunSteps steps_;
  Evaluation evaluation_;
  double loss_ = 0;
};

Run::Run(const TrainRequest& request)
    : request_(request),
      config_(request.config),
      processes_(request.world),
      rows_(own_rows()),
      folder_(request.out, config_),
      data_(config_.data),
      ctx_({.device = request.device, .threads = threads(), .timed_plans = timed_plans()}),
      exchange_((data_.check_fits(config_), ctx_), processes_),
      divided_(exchange_, config_.train.shard_optimizer),
      model_(ctx_, config_.model, dtype_of_name(config_.train.dtype, request.device), config_.train.seed,
             config_.train.init_score, config_.train.ema_rate.size(), divided_.parts()),
      gradients_(exchange_, model_.store.flat(Role::grad)),
      info_(info_of(config_, data_)),
      schedule_(schedule_of(config_.diffusion.schedule)),
      draws_(config_, schedule_, info_.scale_factor, data_.empty_context()),
      state_(resume()),
      progress_("train", "step", config_.train.max_steps,
                processes_.first() ? request.progress : Progress::Style::quiet, state_.step),
      images_(RunImages::if_wanted(config_, info_, folder_.path(), request.device, processes_.first())),
      loader_(data_.load({.batch_size = config_.train.batch_size,
                          .image_size = config_.model.img_size,
                          .seed = config_.train.seed,
                          .start_step = state_.step,
                          .sample_shift = state_.samples - state_.step * config_.train.batch_size,
                          .rows = rows_,
                          .memory = host_memory_for(request.device)})),
      steps_(ctx_, config_, model_, draws_, *loader_, processes_, gradients_, rows_),
      evaluation_(ctx_, config_, info_, folder_.path(), images_ ? &*images_ : nullptr) {
  model_.recompute = config_.train.recompute;
  if (!processes_.first()) return;
  folder_.begin(state_);
  log_.emplace(request.out, config_, ctx_, state_);
  previews_.emplace(ctx_, config_, info_, folder_.path(), data_, images_ ? &*images_ : nullptr);
  for (const std::string& lost : data_.lost_shards()) progress_.say("left out " + lost);
  if (state_.step > 0) progress_.say(concat("resumed at step ", state_.step, " from ", folder_.checkpoint().string()));
}

Rows Run::own_rows() const {
  const int64_t parts = int64_t{processes_.size()} * config_.train.accumulate;
  UVIC_CHECK(config_.train.batch_size >= parts, "train.batch_size ", config_.train.batch_size, " is too small for ",
             processes_.size(), " processes that take their images in ", config_.train.accumulate, " parts");
  return Rows{0, config_.train.batch_size}.part(processes_.rank(), processes_.size());
}

// The first process reads, and the others get what it read: they need not see its files.
TrainState Run::resume() {
  TrainState state;
  divided_.in_first(model_.store, [&] { state = folder_.resume(ctx_, request_.resume, model_.store); });
  state.world_size = processes_.size();  // it may have been another number that saved
  if (processes_.alone()) return state;
  int64_t numbers[] = {state.step, state.samples, folder_.checkpoint().empty()};
  processes_.copy_from_first(numbers);
  state.step = numbers[0], state.samples = numbers[1];
  if (numbers[2] || divided_.parts()) return state;  // all have made the same weights, or been given their parts
  for (const Role role : {Role::master, Role::m, Role::v, Role::ema, Role::ema1, Role::ema2, Role::ema3})
    if (const Tensor all = model_.store.flat(role)) exchange_.copy_from_first(all);
  model_.store.use(ctx_, Role::master);
  return state;
}

// For the one whose run has failed.
std::string Run::what_is_left() const {
  if (!processes_.first()) return concat("the last good checkpoint is the newest in ", folder_.path().string());
  return folder_.checkpoint().empty() ? "nothing was saved yet; a smaller train.lr may help"
                                      : concat("the last good checkpoint is ", folder_.checkpoint().string());
}

// What f returns. An Error of its also says where it arose and what is left.
template <class F>
auto Run::or_what_is_left(const F& f) {
  try {
    return in_scope(ctx_, f);
  } catch (const Error& e) {
    throw Error(e.what(), concat(e.hint(), e.hint().empty() ? "" : "; ", what_is_left()));
  }
}

// Makes result's losses those of all processes, and counts what their loaders met.
DataReport Run::share(StepResult& result) {
  double numbers[] = {result.loss, loader_->wait_seconds(), static_cast<double>(loader_->bad_images())};
  processes_.sum(numbers);
  processes_.sum(result.levels.sum);
  processes_.sum(result.levels.samples);
  result.loss = numbers[0];
  return {numbers[1] / processes_.size(), static_cast<int64_t>(numbers[2])};
}

// One process's signal stops all of them before the same step.
bool Run::stopped() const { return processes_.any(request_.stop && *request_.stop); }

void Run::save() {
  divided_.in_first(model_.store, [this] { folder_.save(ctx_, model_.store, info_, state_); });
}

// Of the first process, as the next: what is to be seen of a step.
void Run::after_step(const StepResult& result, const DataReport& data) {
  loss_ = log_->step(result, data, state_);
  char note[32];
  std::snprintf(note, sizeof note, "loss %.4f", loss_);
  progress_.update(state_.step, note);
}

void Run::preview() {
  if (!previews_->possible()) return;
  const fs::path grid = folder_.path() / "samples" / (step_name(state_.step) + ".png");
  previews_->write(ctx_, model_, schedule_, grid);
  log_->preview(state_.step, grid);
}

// Whether anything beside the next step waits for this one. One answer in all processes.
bool Run::is_looked_at(int64_t step) const {
  const TrainConfig& t = config_.train;
  return step == t.max_steps || step % t.log_every == 0 || step % t.save_every == 0 || evaluation_.due(step) ||
         Previews::due(config_, step);
}

// Reads a step's numbers, and does what comes after it.
void Run::end_step() {
  StepResult result = or_what_is_left([this] { return steps_.read(); });
  ++state_.step, state_.samples += config_.train.batch_size;
  const DataReport data = share(result);
  if (processes_.first()) after_step(result, data);
  if (Previews::due(config_, state_.step)) divided_.in_first(model_.store, [this] { preview(); });
  if (last() || state_.step % config_.train.save_every == 0) save();  // first: an evaluation may take hours
  if (!evaluation_.due(state_.step)) return;
  const LogFields found = evaluation_.run(ctx_, model_, schedule_, processes_, [this] { return stopped(); });
  if (log_ && !found.empty()) log_->evaluation(state_.step, found);
}

TrainOutcome Run::loop() {
  const bool ahead = ctx_.device().kind == DeviceKind::cuda;
  while (steps_given() < config_.train.max_steps && !stopped()) {
    if (log_ && steps_.unread() == 0) log_->begin_step();
    or_what_is_left([this] { steps_.give(steps_given() + 1); });
    const int64_t may_wait = ahead && !is_looked_at(steps_given()) ? 1 : 0;
    while (steps_.unread() > may_wait) end_step();
  }
  while (steps_.unread() > 0) end_step();
  const bool interrupted = state_.step < config_.train.max_steps;
  if (interrupted) save();
  progress_.finish();
  for (const std::string& bad : loader_->bad_examples()) std::fprintf(stderr, "uvic-train: skipped %s\n", bad.c_str());
  return {state_.step, folder_.checkpoint(), loss_, interrupted};
}

}  // namespace

TrainOutcome train(const TrainRequest& request) {
  if (request.world.size == 1) return Run(request).loop();
  try {
    return Run(request).loop();
  } catch (const Error& e) {
    throw Error(concat("process ", request.world.rank, " of ", request.world.size, ": ", e.what()), e.hint());
  }
}

}  // namespace uvic
