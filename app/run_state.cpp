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

// Each value's mean with those around it.
std::vector<double> running_mean(const std::vector<double>& v) {
  const auto half = static_cast<std::ptrdiff_t>(kSmooth / 2 * static_cast<double>(v.size()));
  std::vector<double> out;
  for (std::ptrdiff_t i = 0, n = std::ssize(v); i < n; ++i) {
    double sum = 0, count = 0;
    for (std::ptrdiff_t j = std::max<std::ptrdiff_t>(0, i - half); j <= std::min(n - 1, i + half); ++j)
      if (std::isfinite(v[static_cast<size_t>(j)])) sum += v[static_cast<size_t>(j)], ++count;
    out.push_back(sum / count);  // NaN where all are
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

std::string checkpoint_text(const RunState::Checkpoint& c) {
  std::string text = concat(c.path.filename().string(), c.whole ? ", whole" : ", NOT whole: ", c.why);
  char loss[32];
  std::snprintf(loss, sizeof loss, ", loss %.5g", c.loss);
  return std::isfinite(c.loss) ? text + loss : text;
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
  if (fs::exists(run / "config.yaml")) {
    const RunConfig config = load_config(run / "config.yaml");
    s.max_steps = config.train.max_steps, s.batch_size = config.train.batch_size;
  }
  read_checkpoints(s);
  return s;
}

LogFields describe(const RunState& s) {
  LogFields f{{"run", s.run.string()}, {"step", s.step}};
  if (s.max_steps > 0) {
    f.emplace_back("max_steps", s.max_steps);
    f.emplace_back("images_seen", s.step * s.batch_size);
  }
  for (const char* name : {"loss", "loss_q0", "loss_q1", "loss_q2", "loss_q3", "grad_norm", "images_per_s", "tflops",
                           "peak_share", "data_wait", "memory_mib"})
    if (const double v = s.recent(name); std::isfinite(v)) f.emplace_back(name, v);
  if (!s.steps.empty()) f.emplace_back("last_line", format_duration(s.age) + " ago");
  if (const double left = s.seconds_left(); std::isfinite(left)) f.emplace_back("time_left", format_duration(left));
  if (const auto bad = s.values.find("bad_images"); bad != s.values.end() && bad->second.back() > 0)
    f.emplace_back("bad_images", static_cast<int64_t>(bad->second.back()));
  if (s.bad_lines > 0) f.emplace_back("bad_lines", s.bad_lines);
  f.emplace_back("checkpoint", s.last.path.empty() ? "none" : checkpoint_text(s.last));
  if (!s.best.path.empty()) f.emplace_back("best", checkpoint_text(s.best));
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
