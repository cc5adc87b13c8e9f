#include "app/run_log.h"

#include <unistd.h>

#include <cmath>
#include <fstream>

#include "app/image_io.h"
#include "app/loaded_model.h"
#include "app/matrix_rate.h"

namespace uvic {
namespace {

// NaN where the system does not tell.
double resident_mib() {
  std::ifstream in("/proc/self/statm");
  double total = NAN, resident = NAN;
  in >> total >> resident;
  return resident * static_cast<double>(::sysconf(_SC_PAGESIZE)) / (1 << 20);
}

struct Entry {
  const char* group;  // of the tag
  const char* name;
  LogValue value;
};

// None for words, and for what is not finite.
std::optional<double> number(const LogValue& value) {
  if (const auto* whole = std::get_if<int64_t>(&value)) return static_cast<double>(*whole);
  const auto* real = std::get_if<double>(&value);
  return real && std::isfinite(*real) ? std::optional(*real) : std::nullopt;
}

}  // namespace

RunLog::RunLog(const std::filesystem::path& run, const RunConfig& config, const Context& ctx, int64_t resumed_step,
               int processes)
    : ctx_(ctx),
      dtype_(dtype_of_name(config.train.dtype, ctx.device())),
      processes_(processes),
      images_(config.train.batch_size),
      flops_(3 * config.model.forward_flops() * images_),
      metrics_(run / "metrics.jsonl", resumed_step > 0 ? resumed_step : -1),
      events_(run, resumed_step > 0 ? resumed_step + 1 : 0) {}

void RunLog::write(const StepReport& r) {
  if (!peak_) peak_ = processes_ * matrix_rate(ctx_, dtype_);
  const double rate = flops_ / r.seconds;
  const Entry entries[] = {{"train", "loss", r.loss},
                           {"train", "loss_q0", r.loss_by_level[0]},
                           {"train", "loss_q1", r.loss_by_level[1]},
                           {"train", "loss_q2", r.loss_by_level[2]},
                           {"train", "loss_q3", r.loss_by_level[3]},
                           {"train", "grad_norm", r.grad_norm},
                           {"train", "lr", r.lr},
                           {"speed", "images_per_s", images_ / r.seconds},
                           {"speed", "tflops", rate / 1e12},
                           {"speed", "peak_share", rate / *peak_},
                           {"speed", "data_wait", r.waited / r.seconds},
                           {"speed", "memory_mib", resident_mib()},
                           {"data", "bad_images", r.bad_images}};
  LogFields fields;
  EventFile::Scalars scalars;
  for (const Entry& e : entries) {
    fields.emplace_back(e.name, e.value);
    if (const std::optional<double> x = number(e.value)) scalars.emplace_back(concat(e.group, "/", e.name), *x);
  }
  metrics_.write(r.step, fields);
  events_.scalars(r.step, scalars);
}

void RunLog::evaluation(int64_t step, const LogFields& found) {
  EventFile::Scalars scalars;
  for (const auto& [name, value] : found)
    if (const std::optional<double> x = number(value)) scalars.emplace_back("eval/" + name, *x);
  metrics_.write(step, found);
  events_.scalars(step, scalars);
}

void RunLog::preview(int64_t step, const std::filesystem::path& png) {
  if (!std::filesystem::exists(png)) return;
  const std::vector<uint8_t> bytes = read_bytes(png);
  const ImageHeader header = probe_image(bytes, png.string());
  events_.image(step, "samples", header.height, header.width, bytes);
}

}  // namespace uvic
