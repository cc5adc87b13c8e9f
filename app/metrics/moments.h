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
// batch ends and the next begins changes no bit, their order and the way they are shared out only the last ones.
class Moments {
 public:
  explicit Moments(int64_t dims);

  // rows [N, D] f32 on the host. Throws Error for another width or a value that is not finite.
  void add(Tensor rows);
  // The rows of both together. Leaves other without a part-filled block, and otherwise as it was.
  void merge(Moments& other);

  int64_t dims() const { return dims_; }
  int64_t count() const { return folded_ + waiting_rows(); }
  // Covariance with n - 1. Throws Error for fewer than two rows.
  Gaussian result();

  // For a message to another process: the state as plain numbers, and back.
  std::vector<double> state();
  static Moments of_state(int64_t dims, const std::vector<double>& state);

 private:
  int64_t waiting_rows() const { return static_cast<int64_t>(waiting_.size()) / dims_; }
  void fold();
  void add_mean_difference(const double* other_mean, int64_t other_count);

  int64_t dims_;
  int64_t folded_ = 0;           // rows in mean_ and scatter_
  std::vector<double> mean_;     // [D]
  std::vector<double> scatter_;  // [D, D], lower triangle: sum of (x - mean)(x - mean)^T
  std::vector<double> waiting_;  // [fewer than a block, D]
};

}  // namespace uvic
