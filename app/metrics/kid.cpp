#include "app/metrics/kid.h"

#include <cblas.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "app/metrics/numpy_random.h"

namespace uvic {
namespace {

constexpr int64_t kTile = 512;  // rows a side of one matrix product: 8 MB of features at D = 2048, 2 MB of kernel

using Rows = std::span<const int64_t>;

// Rows [begin, end) of those listed, as doubles.
std::vector<double> gathered(Tensor features, Rows rows, int64_t begin, int64_t end) {
  const int64_t d = features.dim(1);
  std::vector<double> out;
  out.reserve(static_cast<size_t>((end - begin) * d));
  for (int64_t i = begin; i < end; ++i) {
    const float* row = features.data<float>() + rows[static_cast<size_t>(i)] * d;
    out.insert(out.end(), row, row + d);
  }
  return out;
}

// The sum of k over all pairs. same: a and b are one set, whose pairs of a row with itself do not count.
double kernel_sum(Tensor a, Rows rows_a, Tensor b, Rows rows_b, bool same) {
  const int64_t d = a.dim(1), n = static_cast<int64_t>(rows_a.size()), m = static_cast<int64_t>(rows_b.size());
  double sum = 0;
  std::vector<double> dots;
  for (int64_t i = 0; i < n; i += kTile) {
    const int64_t i_end = std::min(n, i + kTile);
    const std::vector<double> x = gathered(a, rows_a, i, i_end);
    for (int64_t j = same ? i : 0; j < m; j += kTile) {  // k is symmetric: of one set, half of the tiles do
      const int64_t j_end = std::min(m, j + kTile);
      const std::vector<double> y = gathered(b, rows_b, j, j_end);
      const int rows = static_cast<int>(i_end - i), columns = static_cast<int>(j_end - j), inner = static_cast<int>(d);
      dots.resize(static_cast<size_t>(rows) * static_cast<size_t>(columns));
      cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, columns, inner, 1.0 / static_cast<double>(d), x.data(),
                  inner, y.data(), inner, 0, dots.data(), columns);
      double tile = 0;
      for (size_t at = 0; at < dots.size(); ++at) {
        const double base = dots[at] + 1;
        tile += base * base * base;
      }
      if (same && i == j) {
        for (size_t row = 0; row < static_cast<size_t>(rows); ++row) {
          const double base = dots[row * static_cast<size_t>(columns) + row] + 1;
          tile -= base * base * base;
        }
      }
      sum += same && i != j ? 2 * tile : tile;
    }
  }
  return sum;
}

void check(Tensor fake, Tensor real) {
  UVIC_CHECK(fake.rank() == 2 && real.rank() == 2 && fake.dim(1) == real.dim(1), "kid: features ", fake.shape(),
             " and ", real.shape(), " are not [N, D] and [M, D]");
}

double unbiased(Tensor fake, Rows f, Tensor real, Rows r) {
  UVIC_CHECK(f.size() >= 2 && r.size() >= 2, "KID needs at least two images a side, here are ", f.size(), " and ",
             r.size());
  const double n = static_cast<double>(f.size()), m = static_cast<double>(r.size());
  return kernel_sum(fake, f, fake, f, true) / (n * (n - 1)) + kernel_sum(real, r, real, r, true) / (m * (m - 1)) -
         2 * kernel_sum(fake, f, real, r, false) / (n * m);
}

}  // namespace

double kid_unbiased(Tensor fake, Tensor real, Rows fake_rows, Rows real_rows) {
  check(fake, real);
  std::vector<int64_t> all_fake, all_real;
  const auto or_all = [](Rows rows, Tensor t, std::vector<int64_t>& all) {
    if (!rows.empty()) return rows;
    all.resize(static_cast<size_t>(t.dim(0)));
    std::iota(all.begin(), all.end(), 0);
    return Rows(all);
  };
  return unbiased(fake, or_all(fake_rows, fake, all_fake), real, or_all(real_rows, real, all_real));
}

Kid kid_of_subsets(Tensor fake, Tensor real, const KidOptions& options) {
  check(fake, real);
  for (const Tensor& t : {fake, real})
    if (t.dim(0) < options.subset_size)
      throw Error(concat("KID draws subsets of ", options.subset_size, " images, a side has ", t.dim(0)),
                  "choose a smaller --kid-subset-size");
  NumpyRandom random(options.seed);
  const auto size = static_cast<size_t>(options.subset_size);
  std::vector<double> values;
  for (int i = 0; i < options.subsets; ++i) {
    const std::vector<int64_t> f = random.permutation(fake.dim(0)), r = random.permutation(real.dim(0));
    values.push_back(unbiased(fake, Rows(f).first(size), real, Rows(r).first(size)));
  }
  const double count = static_cast<double>(values.size());
  Kid kid{.mean = std::accumulate(values.begin(), values.end(), 0.0) / count};
  for (const double v : values) kid.std += (v - kid.mean) * (v - kid.mean) / count;
  kid.std = std::sqrt(kid.std);
  return kid;
}

}  // namespace uvic
