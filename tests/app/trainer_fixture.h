#pragma once

// Whole training runs in this process.

#include "app/run_folder.h"
#include "app/trainer.h"
#include "model/checkpoint.h"
#include "tests/app/tiny_run.h"

namespace uvic::test {

class TrainerTest : public ImageFolderTest {
 protected:
  TrainOutcome run(const RunConfig& config, const std::filesystem::path& out, const std::string& resume = "auto",
                   const volatile std::sig_atomic_t* stop = nullptr) {
    return train({.config = config,
                  .out = out,
                  .resume = resume,
                  .device = device_,
                  .progress = Progress::Style::quiet,
                  .stop = stop});
  }
  std::string refusal(const RunConfig& config, const std::filesystem::path& out, const std::string& resume = "auto") {
    return error_of([&] { run(config, out, resume); });
  }
  Device device_;
  std::filesystem::path data_ = class_folders(3, 5);
};

// What a run that was killed some time after saving this step leaves behind: later lines, the last one torn, and a
// checkpoint that was being written.
inline void leave_as_killed(const std::filesystem::path& run, const std::filesystem::path& at, int64_t step,
                            size_t metrics_bytes) {
  std::filesystem::create_directories(at);
  for (const std::filesystem::path& folder : list_checkpoints(run))
    if (*checkpoint_step(folder) <= step)
      std::filesystem::copy(folder, at / folder.filename(), std::filesystem::copy_options::recursive);
  const std::string metrics = read_text(run / "metrics.jsonl");
  write_text(at / "metrics.jsonl", metrics.substr(0, metrics_bytes));
  write_text(at / (".tmp-" + step_name(step + 5)) / "state.safetensors.tmp", "half");
}

}  // namespace uvic::test
