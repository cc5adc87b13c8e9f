#pragma once

#include <cstdint>
#include <span>

#include "kernels/core/tensor.h"

namespace uvic {

// Kernel Inception Distance: the squared maximum mean discrepancy under k(x, y) = (x . y / D + 1)^3. Features are
// [N, D] f32 on the host; sums in double.

// Over all pairs, of an image with itself excepted: the unbiased estimate (which may be negative). rows: which count,
// empty for all. Throws Error for fewer than two.
double kid_unbiased(Tensor fake, Tensor real, std::span<const int64_t> fake_rows = {},
                    std::span<const int64_t> real_rows = {});

struct KidOptions {
  int subsets = 100;
  int64_t subset_size = 1000;
  uint32_t seed = 2020;
};
struct Kid {
  double mean = 0, std = 0;  // over subsets; the population's
};
// torch-fidelity's: the estimate over random subsets, drawn in its order with its generator. Throws Error if a side has
// fewer images than a subset.
Kid kid_of_subsets(Tensor fake, Tensor real, const KidOptions& options = {});

}  // namespace uvic
