#pragma once

#include <cstdint>
#include <vector>

#include "kernels/core/tensor.h"

namespace uvic {

// A set's features as the Frechet distance sees them.
struct Gaussian {
  std::vector<double> mean;        // [D]
  std::vector<double> covariance;  // [D, D]
  int64_t dims() const { return static_cast<int64_t>(mean.size()); }
};

// Mean and covariance of feature rows as they come, in double. Memory is 8 D^2 bytes, whatever their number; where one
// batch ends and the next begins changes no bit, their order only the last ones.
class Moments {
 public:
  explicit Moments(int64_t dims);

  // rows [N, D] f32 on the host. Throws Error for another width or a value that is not finite.
  void add(Tensor rows);

  int64_t count() const { return folded_ + waiting_rows(); }
  // Covariance with n - 1. Throws Error for fewer than two rows.
  Gaussian result();

 private:
  int64_t waiting_rows() const { return static_cast<int64_t>(waiting_.size()) / dims_; }
  void fold();

  int64_t dims_;
  int64_t folded_ = 0;           // rows in mean_ and scatter_
  std::vector<double> mean_;     // [D]
  std::vector<double> scatter_;  // [D, D], lower triangle: sum of (x - mean)(x - mean)^T
  std::vector<double> waiting_;  // [fewer than a block, D]
};

}  // namespace uvic
