#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "app/data/bad_images.h"
#include "app/data/epoch_orders.h"
#include "app/data/read_ahead.h"
#include "app/dataset.h"

namespace uvic {

class PixelCache;

// The rows of training batches: sample g of the endless sequence of epochs, read, decoded, cropped and perhaps
// mirrored. All members may be called from several threads at once.
class RowMaker {
 public:
  // in_flight: samples that are being made at any time lie within so many of each other.
  RowMaker(const Dataset& data, const DataConfig& config, const LoaderOptions& options, int64_t in_flight);
  ~RowMaker();

  // Writes [h, w, 3] u8 pixels and returns the label. Throws Error if too many images are broken.
  int32_t make(int64_t sample, uint8_t* out);

  void stop();  // make() may throw from now on, so that threads which wait for bytes come back
  const BadImages& bad() const { return bad_; }
  size_t row_bytes() const { return row_bytes_; }

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
