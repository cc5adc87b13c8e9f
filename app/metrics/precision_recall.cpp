#include "app/metrics/precision_recall.h"

#include <cblas.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace uvic {
namespace {

constexpr int64_t kRows = 64, kColumns = 512;
constexpr double kRounding = 1e-10;  // of |x|^2 + |y|^2 - 2 x . y, relative to the first two: far more than it is

// A set of features with their squared lengths.
class Points {
 public:
  explicit Points(Tensor features) : features_(features) {
    for (int64_t i = 0; i < size(); ++i) {
      double sum = 0;
      for (int64_t c = 0; c < dims(); ++c) sum += double{row(i)[c]} * row(i)[c];
      UVIC_CHECK(std::isfinite(sum), "the features of image ", i, " are not finite");
      squares_.push_back(sum);
    }
  }
  int64_t size() const { return features_.dim(0); }
  int64_t dims() const { return features_.dim(1); }
  const float* row(int64_t i) const { return features_.data<float>() + i * dims(); }
  double square(int64_t i) const { return squares_[static_cast<size_t>(i)]; }
  std::vector<double> rows(int64_t begin, int64_t end) const { return {row(begin), row(end)}; }

 private:
  Tensor features_;
  std::vector<double> squares_;
};

// Squared, without cancellation.
double distance(const Points& a, int64_t i, const Points& b, int64_t j) {
  const float *x = a.row(i), *y = b.row(j);
  double sum = 0;
  for (int64_t c = 0; c < a.dims(); ++c) {
    const double step = double{x[c]} - y[c];
    sum += step * step;
  }
  return sum;
}

// How far a distance of each_row may be off.
double slack(const Points& a, int64_t i, const Points& b, int64_t j) { return kRounding * (a.square(i) + b.square(j)); }

// Calls visit(i, distances) for each point i of a, with its squared distances to all of b, by matrix products.
template <class Visit>
void each_row(const Points& a, const Points& b, const Visit& visit) {
  const int inner = static_cast<int>(a.dims());
  std::vector<double> block(static_cast<size_t>(kRows * b.size()));
  for (int64_t i = 0; i < a.size(); i += kRows) {
    const int64_t rows = std::min(kRows, a.size() - i);
    const std::vector<double> x = a.rows(i, i + rows);
    for (int64_t j = 0; j < b.size(); j += kColumns) {
      const int64_t columns = std::min(kColumns, b.size() - j);
      const std::vector<double> y = b.rows(j, j + columns);
      cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<int>(rows), static_cast<int>(columns), inner, -2,
                  x.data(), inner, y.data(), inner, 0, block.data() + j, static_cast<int>(b.size()));
    }
    for (int64_t r = 0; r < rows; ++r) {
      double* row = block.data() + r * b.size();
      for (int64_t j = 0; j < b.size(); ++j) row[j] = std::max(0.0, row[j] + a.square(i + r) + b.square(j));
      visit(i + r, row);
    }
  }
}

// Squared distance of every point to its k-th nearest other one.
std::vector<double> radii(const Points& points, int k) {
  UVIC_CHECK(points.size() > k, "precision and recall with ", k, " neighbours need at least ", k + 1,
             " images a side, here are ", points.size());
  std::vector<double> result, sorted, exact;
  each_row(points, points, [&](int64_t i, const double* row) {
    sorted.assign(row, row + points.size());
    std::nth_element(sorted.begin(), sorted.begin() + k, sorted.end());  // the point itself is one of them
    const double near = sorted[static_cast<size_t>(k)];
    exact.clear();
    for (int64_t j = 0; j < points.size(); ++j)
      if (row[j] <= near + 2 * slack(points, i, points, j)) exact.push_back(distance(points, i, points, j));
    std::nth_element(exact.begin(), exact.begin() + k, exact.end());
    result.push_back(exact[static_cast<size_t>(k)]);
  });
  return result;
}

double share(const std::vector<bool>& flags) {
  return static_cast<double>(std::count(flags.begin(), flags.end(), true)) / static_cast<double>(flags.size());
}

}  // namespace

PrecisionRecall precision_recall(Tensor real_features, Tensor fake_features, int k) {
  UVIC_CHECK(real_features.rank() == 2 && fake_features.rank() == 2 && real_features.dim(1) == fake_features.dim(1),
             "precision_recall: features ", real_features.shape(), " and ", fake_features.shape(),
             " are not [N, D] and [M, D]");
  const Points real(real_features), fake(fake_features);
  const std::vector<double> real_radii = radii(real, k), fake_radii = radii(fake, k);
  const auto n = static_cast<size_t>(real.size()), m = static_cast<size_t>(fake.size());
  std::vector<bool> fake_inside(m), fake_open(m), real_inside(n), real_open(n), covered(n);
  int64_t hits = 0;
  each_row(real, fake, [&](int64_t row_index, const double* row) {
    const auto i = static_cast<size_t>(row_index);
    for (size_t j = 0; j < m; ++j) {
      const auto column = static_cast<int64_t>(j);
      const double off = slack(real, row_index, fake, column);
      const bool tie = std::abs(row[j] - real_radii[i]) <= off || std::abs(row[j] - fake_radii[j]) <= off;
      const double d = tie ? distance(real, row_index, fake, column) : row[j];
      if (d <= real_radii[i]) fake_inside[j] = true;
      if (d < real_radii[i]) fake_open[j] = covered[i] = true, ++hits;
      if (d <= fake_radii[j]) real_inside[i] = true;
      if (d < fake_radii[j]) real_open[i] = true;
    }
  });
  return {.precision = share(fake_inside),
          .recall = share(real_inside),
          .open_precision = share(fake_open),
          .open_recall = share(real_open),
          .density = static_cast<double>(hits) / (static_cast<double>(k) * static_cast<double>(m)),
          .coverage = share(covered)};
}

}  // namespace uvic
