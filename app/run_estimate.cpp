#include "app/run_estimate.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <optional>

#include "app/loaded_model.h"
#include "app/log.h"
#include "app/made_up.h"
#include "app/matrix_rate.h"
#include "app/progress.h"
#include "app/training_data.h"
#include "model/checkpoint.h"

namespace uvic {
namespace {

constexpr double kMeasuredSeconds = 1;              // a step that is timed may take about so long,
constexpr double kMeasuredBytes = 3.0 * (1 << 30);  // and so much memory
constexpr double kShare = 0.5;                      // of the matrix rate that a step reaches, to choose its images by

// Of a step, which may take its batch in parts, in each of so many processes.
int64_t images_at_a_time(const TrainConfig& t, int processes = 1) {
  const int64_t parts = int64_t{t.accumulate} * processes;
  return (t.batch_size + parts - 1) / parts;
}

// Data that are not there yet are no error of the config; data that training would refuse are.
void count_images(RunEstimate& e, const RunConfig& config) {
  std::optional<TrainingData> data;
  try {
    data.emplace(config.data);
  } catch (const Error& error) {
    e.images_unknown = error.what();
    return;
  }
  data->check_fits(config);
  e.images = data->samples();
}

// Seconds of a step of train.batch_size images, from one of `batch` images: all but the update takes that many times as
// long. The second step counts: the first makes plans and takes memory.
double time_step(Context& ctx, const RunConfig& config, DType dtype, int batch) {
  const std::vector<double>& rates = config.train.ema_rate;
  TrainedModel model(ctx, config.model, dtype, config.train.seed, 0, rates.size());
  model.recompute = config.train.recompute;
  double seconds = 0;
  for (int64_t step = 1; step <= 2; ++step) {
    ctx.arena().reset();
    ctx.clear_timings();
    ctx.set_profiling(true);
    const StepInputs in = made_up_step(ctx, config.model, batch);
    const auto start = std::chrono::steady_clock::now();
    train_step(ctx, model, in, prediction_of(config.diffusion.prediction), {.warmup_steps = 0, .ema_rates = rates},
               step);
    synchronize(ctx.device());
    seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  const double update = ctx.timings().at("train/update").seconds;
  return (seconds - update) * config.train.batch_size / batch + update;
}

void estimate_time(RunEstimate& e, const RunConfig& config, const ContextOptions& options) {
  Context ctx(options);
  e.matrix_rate = matrix_rate(ctx, e.dtype);
  const double image_flops = e.step_flops / config.train.batch_size;
  int batch = static_cast<int>(images_at_a_time(config.train));
  while (batch > 1 && batch * image_flops > kMeasuredSeconds * kShare * e.matrix_rate) batch /= 2;
  const int averages = static_cast<int>(config.train.ema_rate.size());
  const double bytes = training_memory(config.model, batch, e.dtype, config.train.recompute, averages).total();
  if (batch * image_flops > 2 * kMeasuredSeconds * kShare * e.matrix_rate || bytes > kMeasuredBytes) {
    e.step_seconds = e.step_flops / e.matrix_rate;
    return;
  }
  e.measured_batch = batch;
  e.step_seconds = time_step(ctx, config, e.dtype, batch);
}

// "7.9 GiB", "253 MiB".
std::string size_text(double bytes) {
  char text[32];
  const double mib = bytes / (1 << 20);
  std::snprintf(text, sizeof text, mib < 1000 ? "%.3g MiB" : "%.1f GiB", mib < 1000 ? mib : mib / 1024);
  return text;
}

}  // namespace

RunEstimate estimate_run(const RunConfig& config, const ContextOptions& device, const std::filesystem::path& out,
                         int processes) {
  RunEstimate e;
  const TrainConfig& t = config.train;
  ParamStore store({});
  const UViC net(store, config.model);
  e.parameters = store.count();
  e.tokens = config.model.tokens();
  e.dtype = dtype_of_name(t.dtype, device.device);
  e.step_flops = 3 * config.model.forward_flops() * t.batch_size;
  e.processes = processes;
  const auto memory = [&](bool recompute, bool divided) {
    return training_memory(config.model, images_at_a_time(t, processes), e.dtype, recompute,
                           static_cast<int>(t.ema_rate.size()), divided ? processes : 1);
  };
  e.memory = memory(t.recompute, t.shard_optimizer);
  e.other_activations = memory(!t.recompute, false).activations;
  e.divided_state = memory(false, false).total() - memory(false, true).total();
  e.machine_memory = static_cast<double>(total_memory(device.device));
  count_images(e, config);
  if (std::filesystem::is_directory(out))
    for (const auto& folder : list_checkpoints(out)) e.steps_done = std::max(e.steps_done, *checkpoint_step(folder));
  estimate_time(e, config, device);
  return e;
}

std::string to_text(const RunEstimate& e, const RunConfig& config) {
  std::string out;
  const auto line = [&](const char* name, const auto& format, const auto&... values) {
    char text[1024], labelled[1040];
    std::snprintf(text, sizeof text, format, values...);
    std::snprintf(labelled, sizeof labelled, "%-8s %s\n", name, text);
    out += labelled;
  };
  const TrainConfig& t = config.train;
  const TrainingMemory& m = e.memory;
  line("model", "%.2f M parameters, %d tokens, %s", static_cast<double>(e.parameters) / 1e6, e.tokens,
       name_of(e.dtype));
  line("work", "%.4g TFLOP a step of %d images", e.step_flops / 1e12, t.batch_size);
  std::string each, divided;  // where there are several processes
  if (e.processes > 1) {
    each = concat(" in each of ", e.processes, " processes");
    divided = concat("; ", size_text(e.divided_state), t.shard_optimizer ? " more without" : " less with",
                     " shard_optimizer");
  }
  line("memory", "%s%s: weights %s, moments %s, averages %s, gradients %s, activations %s (%s %s recompute)%s%s%s",
       size_text(m.total()).c_str(), each.c_str(), size_text(m.weights).c_str(), size_text(m.moments).c_str(),
       size_text(m.averages).c_str(), size_text(m.gradients).c_str(), size_text(m.activations).c_str(),
       size_text(e.other_activations).c_str(), t.recompute ? "without" : "with", divided.c_str(),
       m.total() > e.machine_memory ? "; this machine has only " : "",
       m.total() > e.machine_memory ? size_text(e.machine_memory).c_str() : "");
  const double images = static_cast<double>(t.max_steps) * t.batch_size;
  if (e.images > 0)
    line("data", "%lld images: %lld steps are %.4g epochs", static_cast<long long>(e.images),
         static_cast<long long>(t.max_steps), images / static_cast<double>(e.images));
  else
    line("data", "epochs are not known: %s", e.images_unknown.c_str());
  const int64_t left = std::max<int64_t>(0, t.max_steps - e.steps_done);
  const std::string duration = format_duration(static_cast<double>(left) * e.step_seconds);
  const double rate = e.step_flops / e.step_seconds;
  if (e.measured_batch > 0)
    line("time", "%s for %lld steps of %.3g s, by a step of %d images measured here%s: %.3g TFLOP/s, %.0f%% of %.3g",
         duration.c_str(), static_cast<long long>(left), e.step_seconds, e.measured_batch,
         e.processes > 1 ? " in one process" : "", rate / 1e12, 100 * rate / e.matrix_rate, e.matrix_rate / 1e12);
  else
    line("time",
         "at least %s for %lld steps of %.3g s, at the %.3g TFLOP/s of a large product here; a step is too "
         "long to measure",
         duration.c_str(), static_cast<long long>(left), e.step_seconds, e.matrix_rate / 1e12);
  return out;
}

std::string to_json(const RunEstimate& e) {
  return to_json(LogFields{{"what", "dry-run"},
                           {"parameters", e.parameters},
                           {"tokens", int64_t{e.tokens}},
                           {"dtype", name_of(e.dtype)},
                           {"step_tflop", e.step_flops / 1e12},
                           {"processes", int64_t{e.processes}},
                           {"memory_bytes", e.memory.total()},
                           {"activation_bytes", e.memory.activations},
                           {"images", e.images},
                           {"steps_done", e.steps_done},
                           {"step_s", e.step_seconds},
                           {"measured_batch", int64_t{e.measured_batch}},
                           {"matrix_tflops", e.matrix_rate / 1e12}});
}

}  // namespace uvic
