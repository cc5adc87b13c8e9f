#pragma once

#include <functional>
#include <memory>

#include "app/log.h"
#include "app/metrics/features.h"
#include "app/run_images.h"
#include "app/train_step.h"

namespace uvic {

// The FID of a training run's model on its way: of images made from the EMA weights as config.sample says, guidance
// included, against config.eval's statistics. Draws nothing that training draws, so that a run with it ends with the
// same bits as one without.
class Evaluation {
 public:
  // Reads statistics, network and prompts, so that what is wrong with them ends the run before its first step. images:
  // null only if config asks for no FID; they must outlive this. info: of the model in the making; run: its folder.
  // Features are made where ctx, the run's, is. Throws Error.
  Evaluation(Context& ctx, const RunConfig& config, const ModelInfo& info, const std::filesystem::path& run,
             const RunImages* images);
  ~Evaluation();

  // Whether config asks for one after so many steps: every eval.fid_every, and the last.
  bool due(int64_t step) const;

  // For metrics.jsonl: "fid", and under which protocol, network, sampler and guidance it stands. All processes make the
  // call, each makes a share of the images. The store goes through Role::ema and is back in Role::master after. Empty
  // if stop, asked before each batch and answered alike in all processes, was true.
  LogFields run(Context& ctx, TrainedModel& model, const Schedule& schedule, Processes& processes,
                const std::function<bool()>& stop);

 private:
  const RunConfig config_;
  const RunImages* images_;
  std::optional<TextContext> texts_;
  Statistics reference_;
  std::unique_ptr<FeatureExtractor> extractor_;
};

}  // namespace uvic
