#pragma once

#include "kernels/core/tensor.h"

namespace uvic {

// How two sets cover each other: a set's manifold is the union of balls around its images' features, each as wide as
// the distance to the k-th nearest other image of the set.
struct PrecisionRecall {
  double precision = 0, recall = 0;            // ADM's: a ball's border belongs to it
  double open_precision = 0, open_recall = 0;  // prdc's: it does not
  double density = 0, coverage = 0;            // prdc's (Naeem et al. 2020), which outliers move less
};

// Features [N, D] and [M, D] f32 on the host. Distances are taken in double, a block of rows at a time (64 (N + M)
// numbers of them); where one is as near to a radius as rounding, it is taken again the long way, so that ties are
// ties. Throws Error where a set has no k + 1 images.
PrecisionRecall precision_recall(Tensor real, Tensor fake, int k = 3);

}  // namespace uvic
