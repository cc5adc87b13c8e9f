#include "app/run_state.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "app/config.h"
#include "app/progress.h"
#include "kernels/core/error.h"
#include "model/checkpoint.h"

namespace uvic {
namespace fs = std::filesystem;
namespace {

constexpr size_t kRecent = 10;    // lines that count as recent
constexpr double kSmooth = 0.02;  // of all lines: the width of a running mean

void read_metrics(RunState& s) {
  const fs::path path = s.run / "metrics.jsonl";
  if (!fs::exists(path)) return;
  std::ifstream in(path);
  UVIC_CHECK(in, path.string(), ": cannot be read");
  for (std::string text; std::getline(in, text);) {
    const auto line = nlohmann::json::parse(text, nullptr, false);
    if (!line.is_object() || !line.contains("step") || !line["step"].is_number_integer()) {
      ++s.bad_lines;
      continue;
    }
    s.step = line["step"];
    s.steps.push_back(static_cast<double>(s.step));
    for (const auto& [name, value] : line.items()) {
      std::vector<double>& column = s.values[name];
      column.resize(s.steps.size() - 1, NAN);
      column.push_back(value.is_number() ? value.get<double>() : NAN);
    }
  }
  for (auto& [name, column] : s.values) column.resize(s.steps.size(), NAN);
  const auto age = fs::file_time_type::clock::now() - fs::last_write_time(path);
  s.age = std::chrono::duration<double>(age).count();
}

// Each value's mean with those around it; NaN where none is a number.
std::vector<double> running_mean(const std::vector<double>& v) {
  std::vector<double> sum{0}, count{0};  // of the values before
  for (const double x : v) {
    sum.push_back(sum.back() + (std::isfinite(x) ? x : 0));
    count.push_back(count.back() + std::isfinite(x));
  }
  const auto half = static_cast<size_t>(kSmooth / 2 * static_cast<double>(v.size()));
  std::vector<double> out;
  for (size_t i = 0; i < v.size(); ++i) {
    const size_t from = i - std::min(i, half), to = std::min(v.size(), i + half + 1);
    out.push_back((sum[to] - sum[from]) / (count[to] - count[from]));
  }
  return out;
}

RunState::Checkpoint checked(const fs::path& path, double loss) {
  RunState::Checkpoint c{.path = path, .whole = true, .why = {}, .loss = loss};
  try {
    verify_checkpoint(path);
  } catch (const Error& e) {
    c.whole = false, c.why = e.what();
  }
  return c;
}

void read_checkpoints(RunState& s) {
  const std::vector<double> mean = s.values.contains("loss") ? running_mean(s.values["loss"]) : std::vector<double>{};
  std::vector<std::pair<double, fs::path>> by_loss;
  for (const fs::path& folder : list_checkpoints(s.run)) {
    const auto step = static_cast<double>(*checkpoint_step(folder));
    const auto line = std::upper_bound(s.steps.begin(), s.steps.end(), step);  // the lines up to it say how it is
    const double loss =
        line == s.steps.begin() || mean.empty() ? NAN : mean[static_cast<size_t>(line - s.steps.begin()) - 1];
    if (s.last.path.empty()) s.last = checked(folder, loss), s.step = std::max(s.step, static_cast<int64_t>(step));
    if (std::isfinite(loss)) by_loss.emplace_back(loss, folder);
  }
  std::sort(by_loss.begin(), by_loss.end());
  for (const auto& [loss, folder] : by_loss) {
    s.best = checked(folder, loss);
    if (s.best.whole) return;
  }
  s.best = {};
}

// A run goes on with another batch size from a checkpoint only, which holds what was seen until then.
void count_images(RunState& s) {
  s.images_seen = s.step * s.batch_size;
  if (!s.last.whole) return;
  const auto state = nlohmann::json::parse(std::ifstream(s.last.path / "state.json"), nullptr, false);
  const int64_t since = s.step - *checkpoint_step(s.last.path);
  if (state.is_object() && state.contains("samples")) s.images_seen = int64_t{state["samples"]} + since * s.batch_size;
}

// "checkpoint", "checkpoint_whole", "checkpoint_loss".
void describe(const std::string& name, const RunState::Checkpoint& c, LogFields& out) {
  out.emplace_back(name, c.path.empty() ? "none" : c.path.filename().string());
  if (c.path.empty()) return;
  out.emplace_back(name + "_whole", c.whole ? "yes" : "no: " + c.why);
  if (std::isfinite(c.loss)) out.emplace_back(name + "_loss", c.loss);
}

}  // namespace

double RunState::recent(const std::string& field) const {
  const auto column = values.find(field);
  if (column == values.end()) return NAN;
  double sum = 0, count = 0;
  for (size_t i = column->second.size() - std::min(kRecent, column->second.size()); i < column->second.size(); ++i)
    if (std::isfinite(column->second[i])) sum += column->second[i], ++count;
  return sum / count;
}

double RunState::newest(const std::string& field) const {
  const auto column = values.find(field);
  if (column == values.end()) return NAN;
  const auto found =
      std::find_if(column->second.rbegin(), column->second.rend(), [](double x) { return !std::isnan(x); });
  return found == column->second.rend() ? NAN : *found;
}

double RunState::seconds_left() const {
  if (max_steps == 0) return NAN;
  return static_cast<double>(std::max<int64_t>(0, max_steps - step) * batch_size) / recent("images_per_s");
}

bool is_run(const fs::path& folder) {
  return fs::exists(folder / "metrics.jsonl") || fs::exists(folder / "config.yaml");
}

RunState read_run(const fs::path& run) {
  RunState s;
  s.run = run;
  read_metrics(s);
  try {
    const RunConfig config = load_config(run / "config.yaml");
    s.max_steps = config.train.max_steps, s.batch_size = config.train.batch_size;
  } catch (const Error& e) {
    s.config_error = e.what();
  }
  read_checkpoints(s);
  count_images(s);
  return s;
}

LogFields describe(const RunState& s) {
  LogFields f{{"run", s.run.string()}, {"step", s.step}};
  if (s.max_steps > 0) {
    f.emplace_back("max_steps", s.max_steps);
    f.emplace_back("images_seen", s.images_seen);
  }
  if (!s.config_error.empty()) f.emplace_back("config_error", s.config_error);
  for (const char* name : {"loss", "loss_q0", "loss_q1", "loss_q2", "loss_q3", "grad_norm", "images_per_s", "tflops",
                           "peak_share", "data_wait", "memory_mib"})
    if (const double v = s.recent(name); std::isfinite(v)) f.emplace_back(name, v);
  if (!s.steps.empty()) f.emplace_back("last_line", format_duration(s.age) + " ago");
  if (const double left = s.seconds_left(); std::isfinite(left)) {
    f.emplace_back("seconds_left", left);
    f.emplace_back("time_left", format_duration(left));
  }
  if (const double fid = s.newest("fid"); std::isfinite(fid)) f.emplace_back("fid", fid);
  if (const double bad = s.newest("bad_images"); bad > 0) f.emplace_back("bad_images", static_cast<int64_t>(bad));
  if (s.bad_lines > 0) f.emplace_back("bad_lines", s.bad_lines);
  describe("checkpoint", s.last, f);
  describe("best", s.best, f);
  return f;
}

Plot loss_plot(const RunState& s) {
  UVIC_CHECK(s.values.contains("loss"), (s.run / "metrics.jsonl").string(), ": has no loss to draw");
  const std::vector<double>& loss = s.values.at("loss");
  return {.title = s.run.filename().empty() ? s.run.parent_path().filename() : s.run.filename(),
          .x = {.label = "step"},
          .y = {.label = "loss", .log = true},
          .series = {{.label = "logged", .x = s.steps, .y = loss, .faint = true},
                     {.label = "running mean", .x = s.steps, .y = running_mean(loss)}}};
}

}  // namespace uvic
