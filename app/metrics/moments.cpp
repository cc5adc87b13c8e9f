#include "app/metrics/moments.h"

#include <cblas.h>

#include <algorithm>
#include <cmath>

namespace uvic {
namespace {

// Enough rows that a block is one matrix product, few enough that they stay in the second-level cache by halves.
constexpr int64_t kBlock = 256;

}  // namespace

Moments::Moments(int64_t dims)
    : dims_(dims), mean_(static_cast<size_t>(dims)), scatter_(static_cast<size_t>(dims * dims)) {}

void Moments::add(Tensor rows) {
  UVIC_CHECK(rows.rank() == 2 && rows.dim(1) == dims_, "Moments: rows ", rows.shape(), " are not [N, ", dims_, "]");
  const float* x = rows.data<float>();
  for (int64_t row = 0; row < rows.dim(0); ++row, x += dims_) {
    UVIC_CHECK(std::all_of(x, x + dims_, [](float v) { return std::isfinite(v); }), "the features of image ", count(),
               " are not finite");
    waiting_.insert(waiting_.end(), x, x + dims_);
    if (waiting_rows() == kBlock) fold();
  }
}

// The block is centred on its own mean before it is multiplied: sums of squares about zero would lose the digits that
// features with a large mean and a small variance have. The step from one mean to the other is exact algebra (Chan,
// Golub and LeVeque 1979).
void Moments::fold() {
  const int64_t n = waiting_rows();
  if (n == 0) return;
  std::vector<double> mean(mean_.size());
  for (int64_t row = 0; row < n; ++row)
    for (size_t c = 0; c < mean.size(); ++c) mean[c] += waiting_[static_cast<size_t>(row) * mean.size() + c];
  for (double& m : mean) m /= static_cast<double>(n);
  for (int64_t row = 0; row < n; ++row)
    for (size_t c = 0; c < mean.size(); ++c) waiting_[static_cast<size_t>(row) * mean.size() + c] -= mean[c];
  const int d = static_cast<int>(dims_);
  cblas_dsyrk(CblasRowMajor, CblasLower, CblasTrans, d, static_cast<int>(n), 1, waiting_.data(), d, 1, scatter_.data(),
              d);
  const double before = static_cast<double>(folded_), added = static_cast<double>(n), all = before + added;
  for (size_t c = 0; c < mean.size(); ++c) mean[c] -= mean_[c];
  cblas_dsyr(CblasRowMajor, CblasLower, d, before * added / all, mean.data(), 1, scatter_.data(), d);
  for (size_t c = 0; c < mean.size(); ++c) mean_[c] += mean[c] * (added / all);
  folded_ += n;
  waiting_.clear();
}

Gaussian Moments::result() {
  UVIC_CHECK(count() >= 2, "a covariance needs at least two images, here ", count() == 1 ? "is one" : "are none");
  fold();
  Gaussian g{mean_, scatter_};
  const size_t d = mean_.size();
  for (size_t r = 0; r < d; ++r)
    for (size_t c = 0; c <= r; ++c)
      g.covariance[c * d + r] = g.covariance[r * d + c] = scatter_[r * d + c] / static_cast<double>(folded_ - 1);
  return g;
}

}  // namespace uvic
