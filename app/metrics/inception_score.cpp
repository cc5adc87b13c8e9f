#include "app/metrics/inception_score.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "app/metrics/numpy_random.h"

namespace uvic {

std::vector<int32_t> torch_fidelity_splits(int64_t images, int splits, bool shuffled, uint32_t seed) {
  UVIC_CHECK(splits > 0 && images >= splits, "an Inception Score over ", splits,
             " splits needs as many images, here are ", images);
  std::vector<int64_t> order(static_cast<size_t>(images));
  std::iota(order.begin(), order.end(), 0);
  if (shuffled) order = NumpyRandom(seed).permutation(images);
  std::vector<int32_t> split_of(order.size());
  for (int32_t split = 0; split < splits; ++split)
    for (int64_t i = split * images / splits; i < (split + 1) * images / splits; ++i)
      split_of[static_cast<size_t>(order[static_cast<size_t>(i)])] = split;
  return split_of;
}

std::vector<int32_t> adm_splits(int64_t images, int64_t split_size) {
  UVIC_CHECK(images > 0 && split_size > 0, "an Inception Score needs images");
  std::vector<int32_t> split_of(static_cast<size_t>(images));
  for (size_t i = 0; i < split_of.size(); ++i) split_of[i] = static_cast<int32_t>(static_cast<int64_t>(i) / split_size);
  return split_of;
}

InceptionScore::InceptionScore(std::vector<int32_t> split_of, int64_t classes)
    : split_of_(std::move(split_of)), classes_(classes) {
  UVIC_CHECK(!split_of_.empty(), "an Inception Score needs images");
  sums_.resize(stride() * static_cast<size_t>(*std::max_element(split_of_.begin(), split_of_.end()) + 1));
}

void InceptionScore::add(int64_t first, Tensor logits) {
  UVIC_CHECK(logits.rank() == 2 && logits.dim(1) == classes_, "InceptionScore: logits ", logits.shape(),
             " are not [B, ", classes_, "]");
  UVIC_CHECK(first >= 0 && first + logits.dim(0) <= static_cast<int64_t>(split_of_.size()), "InceptionScore: images ",
             first, " to ", first + logits.dim(0), " of ", split_of_.size());
  const float* row = logits.data<float>();
  std::vector<double> p(static_cast<size_t>(classes_));
  for (int64_t i = 0; i < logits.dim(0); ++i, row += classes_) {
    double* sums = &sums_[stride() * static_cast<size_t>(split_of_[static_cast<size_t>(first + i)])];
    const double largest = *std::max_element(row, row + classes_);
    double total = 0;
    for (size_t c = 0; c < p.size(); ++c) total += p[c] = std::exp(row[c] - largest);
    const double log_total = std::log(total);
    UVIC_CHECK(std::isfinite(log_total), "the logits of image ", first + i, " are not finite");
    sums[0] += 1;
    for (size_t c = 0; c < p.size(); ++c) {
      sums[1] += p[c] / total * (row[c] - largest - log_total);
      sums[2 + c] += p[c] / total;
    }
  }
}

InceptionScore::Result InceptionScore::result() const {
  std::vector<double> scores;
  double images = 0;
  for (size_t at = 0; at < sums_.size(); at += stride()) {
    const double n = sums_[at];
    double divergence = sums_[at + 1] / n;
    for (size_t c = at + 2; c < at + stride(); ++c)
      if (const double p = sums_[c] / n; p > 0) divergence -= p * std::log(p);
    scores.push_back(std::exp(divergence));
    images += n;
  }
  UVIC_CHECK(images == static_cast<double>(split_of_.size()), "InceptionScore: ", images, " of ", split_of_.size(),
             " images were added");
  const double count = static_cast<double>(scores.size());
  Result r{.mean = std::accumulate(scores.begin(), scores.end(), 0.0) / count};
  for (const double s : scores) r.std += (s - r.mean) * (s - r.mean) / count;
  r.std = std::sqrt(r.std);
  return r;
}

}  // namespace uvic
