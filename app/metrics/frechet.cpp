#include "app/metrics/frechet.h"

#include <cblas.h>
#include <lapacke.h>

#include <algorithm>
#include <cmath>

namespace uvic {
namespace {

double trace(const Gaussian& g) {
  double sum = 0;
  for (size_t i = 0; i < g.mean.size(); ++i) sum += g.covariance[i * (g.mean.size() + 1)];
  return sum;
}

// What rounding makes of a zero in a [dims, dims] matrix whose largest eigen- or singular value is `largest`.
double threshold(double largest, int64_t dims) { return std::max(largest, 0.0) * static_cast<double>(dims) * 0x1p-52; }

void check(const Gaussian& g) {
  const auto finite = [](double v) { return std::isfinite(v); };
  UVIC_CHECK(g.covariance.size() == g.mean.size() * g.mean.size(), "frechet_distance: a mean [", g.mean.size(),
             "] with a covariance of ", g.covariance.size(), " numbers");
  UVIC_CHECK(std::all_of(g.mean.begin(), g.mean.end(), finite) &&
                 std::all_of(g.covariance.begin(), g.covariance.end(), finite),
             "frechet_distance: statistics hold a number that is not finite");
}

// R [rank, D], of which R^T R is the covariance: W^(1/2) V^T of its eigenvalues above rounding.
struct Root {
  std::vector<double> rows;
  int64_t rank = 0;
};

Root root_of(const Gaussian& g, const char* which) {
  const int64_t d = g.dims();
  Root root{.rows = g.covariance};
  if (d == 0) return root;
  std::vector<double> values(static_cast<size_t>(d));
  const int n = static_cast<int>(d);
  // Column-major, in which an eigenvector is a row of ours; the matrix is its own transpose.
  const int status = LAPACKE_dsyevd(LAPACK_COL_MAJOR, 'V', 'L', n, root.rows.data(), n, values.data());
  UVIC_CHECK(status == 0, "the eigenvalues of a covariance [", n, ", ", n, "] cannot be found (dsyevd: ", status, ")");
  UVIC_CHECK(values.front() >= -1e-3 * std::max(values.back(), 0.0), "frechet_distance: the ", which,
             " matrix is no covariance: an eigenvalue is ", values.front());
  const auto first = std::upper_bound(values.begin(), values.end(), threshold(values.back(), d));
  root.rows.erase(root.rows.begin(), root.rows.begin() + (first - values.begin()) * d);
  root.rank = values.end() - first;
  for (int64_t i = 0; i < root.rank; ++i) cblas_dscal(n, std::sqrt(first[i]), root.rows.data() + i * d, 1);
  return root;
}

// In falling order; a [rows, columns] is overwritten.
std::vector<double> singular_values(std::vector<double>& a, int64_t rows, int64_t columns) {
  std::vector<double> values(static_cast<size_t>(std::min(rows, columns)));
  if (values.empty()) return values;
  // Column-major: of the transpose, whose singular values are the same.
  const int m = static_cast<int>(columns), n = static_cast<int>(rows);
  const int status = LAPACKE_dgesdd(LAPACK_COL_MAJOR, 'N', m, n, a.data(), m, values.data(), nullptr, 1, nullptr, 1);
  UVIC_CHECK(status == 0, "the singular values of a matrix [", n, ", ", m, "] cannot be found (dgesdd: ", status, ")");
  return values;
}

}  // namespace

FrechetDistance frechet_distance(const Gaussian& a, const Gaussian& b) {
  check(a);
  check(b);
  UVIC_CHECK(a.dims() == b.dims(), "frechet_distance: features of ", a.dims(), " and of ", b.dims(), " dimensions");
  const int64_t d = a.dims();
  FrechetDistance f{.trace1 = trace(a), .trace2 = trace(b)};
  for (size_t i = 0; i < a.mean.size(); ++i) f.mean_term += (a.mean[i] - b.mean[i]) * (a.mean[i] - b.mean[i]);

  const Root first = root_of(a, "first"), second = root_of(b, "second");
  f.rank1 = first.rank;
  if (first.rank > 0 && second.rank > 0) {
    const int r1 = static_cast<int>(first.rank), r2 = static_cast<int>(second.rank), n = static_cast<int>(d);
    std::vector<double> product(static_cast<size_t>(first.rank * second.rank));
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, r1, r2, n, 1, first.rows.data(), n, second.rows.data(), n, 0,
                product.data(), r2);
    const std::vector<double> values = singular_values(product, first.rank, second.rank);
    for (const double value : values) {
      f.trace_root += value;
      f.rank_both += value > threshold(values.front(), d) ? 1 : 0;
    }
  }
  // A square: what rounding leaves below zero is zero.
  f.distance = std::max(0.0, f.mean_term + f.trace1 + f.trace2 - 2 * f.trace_root);
  return f;
}

}  // namespace uvic
