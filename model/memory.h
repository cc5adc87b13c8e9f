#pragma once

#include <cstdint>

#include "kernels/core/tensor.h"
#include "model/config.h"

namespace uvic {

// Bytes that training a network of config takes at its peak, on the device: sums over the tensors that the code keeps,
// within a few per cent of what it allocates. dtype: the working precision; batch: images whose activations are kept at
// once (with gradient accumulation, those of one part); parts: of the processes that divide the optimizer's state.
// Not counted: decoded images, and the samples of a preview.
struct TrainingMemory {
  double weights = 0;      // f32 master copy, and one in dtype if that is another
  double averages = 0;     // EMA, of each rate
  double gradients = 0;    // f32
  double moments = 0;      // AdamW's two
  double activations = 0;  // of forward and backward, with the step's images and noise
  double total() const { return weights + averages + gradients + moments + activations; }
};
TrainingMemory training_memory(const UViCConfig& config, int64_t batch, DType dtype, bool recompute, int averages = 1,
                               int parts = 1);

}  // namespace uvic
