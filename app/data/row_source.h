#pragma once

#include "app/data/bad_images.h"
#include "app/dataset.h"

namespace uvic {

// The rows of training batches: sample g of the endless sequence of epochs. All members may be called from several
// threads at once.
class RowSource {
 public:
  virtual ~RowSource() = default;

  virtual Batch empty_batch(int64_t rows) const = 0;  // its tensors alone
  // Overwrites a row of batch's tensors and returns the label. Throws Error if too many of the data are broken.
  virtual int32_t make(int64_t sample, Batch& batch, int64_t row) = 0;

  virtual void stop() {}  // make() may throw from now on, so that threads which wait for bytes come back
  virtual const BadImages& bad() const = 0;
};

}  // namespace uvic
