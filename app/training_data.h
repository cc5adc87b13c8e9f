#pragma once

#include <memory>
#include <string>
#include <vector>

#include "app/config.h"
#include "app/data/latents.h"
#include "app/dataset.h"

namespace uvic {

// What a run trains on: images, or latents with labels or texts.
class TrainingData {
 public:
  // Throws Error if it is not there or damaged.
  explicit TrainingData(const DataConfig& config);

  // Throws Error naming what does not fit: classes, latents' or texts' sizes, the scale of latents.
  void check_fits(const RunConfig& config) const;

  int64_t samples() const;                              // of an epoch
  const std::vector<std::string>& class_names() const;  // by label; empty: none, or not known
  std::vector<std::string> lost_shards() const;         // left out: which, and why
  std::unique_ptr<BatchLoader> load(const LoaderOptions& options) const;

  // Of latents; null for images.
  const LatentInfo* latents() const { return latents_ ? &latents_->info() : nullptr; }
  // Of texts: that of none [T, D]; and [n, T, D] of n images spread evenly over the data, the first caption of each.
  OwnedTensor contexts(int64_t n) const;
  Tensor empty_context() const { return latents_ ? latents_->empty_context() : Tensor{}; }

 private:
  DataConfig config_;
  std::unique_ptr<const Dataset> images_;
  std::unique_ptr<const LatentSource> latents_;  // one of the two
};

// What a run on latents multiplies them by: latents.scale_factor, else their autoencoder's. 0 for images.
double latent_scale(const RunConfig& config, const LatentInfo* latents);

}  // namespace uvic
