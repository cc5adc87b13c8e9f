#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "app/data/bad_images.h"
#include "app/data/epoch_orders.h"
#include "app/data/read_ahead.h"
#include "app/data/row_source.h"

namespace uvic {

class PixelCache;

// Images, read, decoded, cropped and perhaps mirrored.
class RowMaker : public RowSource {
 public:
  // in_flight: samples that are being made at any time lie within so many of each other.
  RowMaker(const Dataset& data, const DataConfig& config, const LoaderOptions& options, int64_t in_flight);
  ~RowMaker() override;

  Batch empty_batch(int64_t rows) const override;
  int32_t make(int64_t sample, Batch& batch, int64_t row) override;
  void stop() override;
  const BadImages& bad() const override { return bad_; }

 private:
  bool write_pixels(int64_t i, int64_t epoch, std::optional<int64_t> sample, uint8_t* out);

  const Dataset& data_;
  const DataConfig config_;
  const LoaderOptions options_;
  const size_t row_bytes_;
  BadImages bad_;
  EpochOrders orders_;
  std::unique_ptr<PixelCache> cache_;
  std::unique_ptr<ReadAhead> read_ahead_;
};

}  // namespace uvic
