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

// Eigenvalues in rising order; a [n, n], symmetric, is overwritten: with eigenvectors, one a row, if wanted.
std::vector<double> eigenvalues(std::vector<double>& a, int64_t n, bool vectors) {
  std::vector<double> values(static_cast<size_t>(n));
  const int d = static_cast<int>(n);
  // Column-major, in which a column is a row of ours; the matrix is its own transpose.
  const int status =
      n == 0 ? 0 : LAPACKE_dsyevd(LAPACK_COL_MAJOR, vectors ? 'V' : 'N', 'L', d, a.data(), d, values.data());
  UVIC_CHECK(status == 0, "the eigenvalues of a covariance [", n, ", ", n, "] cannot be found (dsyevd: ", status, ")");
  return values;
}

double threshold(const std::vector<double>& values, int64_t dims) {
  return values.empty() ? 0 : std::max(values.back(), 0.0) * static_cast<double>(dims) * 0x1p-52;
}

void check(const Gaussian& g) {
  const auto finite = [](double v) { return std::isfinite(v); };
  UVIC_CHECK(g.covariance.size() == g.mean.size() * g.mean.size(), "frechet_distance: a mean [", g.mean.size(),
             "] with a covariance of ", g.covariance.size(), " numbers");
  UVIC_CHECK(std::all_of(g.mean.begin(), g.mean.end(), finite) &&
                 std::all_of(g.covariance.begin(), g.covariance.end(), finite),
             "frechet_distance: statistics hold a number that is not finite");
}

}  // namespace

FrechetDistance frechet_distance(const Gaussian& a, const Gaussian& b) {
  check(a);
  check(b);
  UVIC_CHECK(a.dims() == b.dims(), "frechet_distance: features of ", a.dims(), " and of ", b.dims(), " dimensions");
  const int64_t d = a.dims();
  FrechetDistance f{.trace1 = trace(a), .trace2 = trace(b)};
  for (size_t i = 0; i < a.mean.size(); ++i) f.mean_term += (a.mean[i] - b.mean[i]) * (a.mean[i] - b.mean[i]);

  std::vector<double> vectors = a.covariance;
  const std::vector<double> values = eigenvalues(vectors, d, true);
  UVIC_CHECK(values.empty() || values.front() >= -1e-3 * std::max(values.back(), 0.0),
             "frechet_distance: the first matrix is no covariance: an eigenvalue is ",
             values.empty() ? 0 : values.front());
  const double least = threshold(values, d);
  const auto first = std::upper_bound(values.begin(), values.end(), least) - values.begin();
  f.rank1 = d - first;
  if (f.rank1 > 0) {
    // R = W^(1/2) V^T of the eigenvalues that count, [r, D]. R C2 R^T has the eigenvalues of C1^(1/2) C2 C1^(1/2)
    // without its zeros, and is the smaller the fewer images there were.
    double* root = vectors.data() + first * d;
    for (int64_t i = 0; i < f.rank1; ++i)
      cblas_dscal(static_cast<int>(d), std::sqrt(values[static_cast<size_t>(first + i)]), root + i * d, 1);
    const int r = static_cast<int>(f.rank1), n = static_cast<int>(d);
    std::vector<double> half(static_cast<size_t>(f.rank1 * d)), product(static_cast<size_t>(f.rank1 * f.rank1));
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, r, n, n, 1, root, n, b.covariance.data(), n, 0, half.data(),
                n);
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, r, r, n, 1, half.data(), n, root, n, 0, product.data(), r);
    const size_t rank = static_cast<size_t>(f.rank1);
    for (size_t i = 0; i < rank; ++i)
      for (size_t j = 0; j < i; ++j)
        product[i * rank + j] = product[j * rank + i] = (product[i * rank + j] + product[j * rank + i]) / 2;
    const std::vector<double> squares = eigenvalues(product, f.rank1, false);
    const double zero = threshold(squares, d);
    for (const double square : squares) {
      if (square <= zero) continue;
      f.trace_root += std::sqrt(square);
      ++f.rank_both;
    }
  }
  // A square: what rounding leaves below zero is zero.
  f.distance = std::max(0.0, f.mean_term + f.trace1 + f.trace2 - 2 * f.trace_root);
  return f;
}

}  // namespace uvic
