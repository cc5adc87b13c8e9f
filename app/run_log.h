#pragma once

#include <array>
#include <filesystem>
#include <optional>
#include <string>

#include "app/config.h"
#include "app/event_file.h"
#include "app/log.h"
#include "kernels/core/context.h"

namespace uvic {

// One line of a training run's log.
struct StepReport {
  int64_t step = 0;
  double loss = 0;                        // mean of the steps since the line before
  std::array<double, 4> loss_by_level{};  // the same by quarter of the noise levels; NaN where there was no sample
  double grad_norm = 0, lr = 0;           // of this step
  double seconds = 0, waited = 0;         // a step took; of these, for data
  int64_t bad_images = 0;                 // so far
};

// What a training run tells about itself while it runs: metrics.jsonl and a TensorBoard event file in its folder, with
// the same numbers.
//   metrics.jsonl          TensorBoard
//   loss, grad_norm, lr    train/...
//   loss_q0 ... loss_q3    train/...  mean squared error, without weights, by quarter of the training time t: nearly
//                                     clean images first, nearly all noise last
//   images_per_s, tflops   speed/...  tflops: 10^12 multiply-adds x 2 of the matrix products a second
//   peak_share             speed/...  tflops over what one large product reaches (matrix_rate), in every process
//   data_wait              speed/...  share of the time that steps waited for data
//   memory_mib             speed/...  resident memory of this process
//   bad_images             data/...
//   fid, fid_...           eval/...   what evaluations find, in lines of their own; words only in metrics.jsonl
//   samples/step-*.png     samples    the preview grids
class RunLog {
 public:
  // Goes on after resumed_step in the files of run, an existing folder: what they say of later steps is void; 0 starts
  // afresh. processes: how many like this one share a step. ctx must outlive the log. Throws Error naming the
  // file that cannot be written, as do the other functions.
  RunLog(const std::filesystem::path& run, const RunConfig& config, const Context& ctx, int64_t resumed_step,
         int processes = 1);

  void write(const StepReport& report);
  // What an evaluation found: a line of its own, and its numbers.
  void evaluation(int64_t step, const LogFields& found);
  // Shows png, the grid of this step. Nothing if there is no such file.
  void preview(int64_t step, const std::filesystem::path& png);

 private:
  const Context& ctx_;
  DType dtype_;
  int processes_;
  double images_, flops_;  // of a step
  MetricsLog metrics_;
  EventFile events_;
  std::optional<double> peak_;  // measured when it is first needed
};

}  // namespace uvic
