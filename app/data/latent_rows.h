#pragma once

#include "app/data/epoch_orders.h"
#include "app/data/latents.h"
#include "app/data/row_source.h"

namespace uvic {

// Latents, of the image or its mirror image, with one of its captions. Where random_flip is off and both are there,
// each is a sample of its own, as in U-ViT: an epoch is twice as long.
class LatentRows : public RowSource {
 public:
  // in_flight: see RowMaker.
  LatentRows(const LatentSource& data, const DataConfig& config, const LoaderOptions& options, int64_t in_flight);

  static int64_t samples(const LatentSource& data, const DataConfig& config) {
    return data.size() * (data.info().flips && !config.random_flip ? 2 : 1);
  }

  Batch empty_batch(int64_t rows) const override;
  int32_t make(int64_t sample, Batch& batch, int64_t row) override;
  const BadImages& bad() const override { return bad_; }

 private:
  const LatentSource& data_;
  const int64_t samples_;
  const uint64_t seed_;
  const Device memory_;
  const bool choose_flip_;
  BadImages bad_;
  EpochOrders orders_;
};

}  // namespace uvic
