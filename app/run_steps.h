#pragma once

#include <deque>
#include <memory>

#include "app/gradient_sum.h"
#include "app/training_draws.h"

namespace uvic {

// The steps of a run: each takes the loader's next batch. A GPU can be given the next one before the numbers of the
// last one are read, and has work while the host prepares more.
class RunSteps {
 public:
  // rows: of every batch that the loader makes, this process's. All must outlive this.
  RunSteps(Context& ctx, const RunConfig& config, TrainedModel& model, const TrainingDraws& draws, BatchLoader& loader,
           const Processes& processes, GradientSum& gradients, Rows rows);
  ~RunSteps() { model_.gradients = {}; }  // its recordings hold sums: NCCL does not end before they are gone
  RunSteps(const RunSteps&) = delete;
  RunSteps& operator=(const RunSteps&) = delete;

  // Step number step (1-based): on a CPU it is done then, on a GPU queued. Two may be unread, but no more.
  void give(int64_t step);
  int64_t unread() const { return static_cast<int64_t>(given_.size()); }
  // The numbers of the first unread step. Throws Error as train_step() does, naming that step; the weights are then
  // those before it, whatever was given since.
  StepResult read();

 private:
  // What a step reads is kept until it is done: the GPU may not have copied it yet.
  struct Given {
    int64_t step;
    Batch batch;
    StepMaterial material;
    std::unique_ptr<PendingStep> pending;
  };
  std::unique_ptr<PendingStep> begin(const Given& given, PendingStep::Mode mode);

  Context& ctx_;
  const RunConfig& config_;
  TrainedModel& model_;
  const TrainingDraws& draws_;
  BatchLoader& loader_;
  const Processes& processes_;
  GradientSum& gradients_;
  Rows rows_;
  OptimizerConfig optimizer_;
  Feed feed_;
  std::deque<Given> given_;
};

}  // namespace uvic
