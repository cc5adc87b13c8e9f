#pragma once

#include <cstdint>
#include <vector>

#include "kernels/core/tensor.h"

namespace uvic {

// Which split every image belongs to. torch-fidelity: rows i N / k to (i + 1) N / k of a permutation drawn with seed;
// ADM: consecutive rows, so many a split, the last maybe fewer. Throws Error if a split would be empty.
std::vector<int32_t> torch_fidelity_splits(int64_t images, int splits = 10, bool shuffled = true, uint32_t seed = 2020);
std::vector<int32_t> adm_splits(int64_t images, int64_t split_size = 5000);

// Inception Score: exp of the mean divergence of p(y | image) from p(y), by split. Everything is a sum over images, so
// memory does not grow with their number; in double, from logits, so that no probability is ever exactly 0.
class InceptionScore {
 public:
  // split_of [N]: from one of the above.
  InceptionScore(std::vector<int32_t> split_of, int64_t classes);

  // logits [B, classes] f32, without the last layer's bias, of images first, first + 1, ... Each image once.
  void add(int64_t first, Tensor logits);

  struct Result {
    double mean = 0, std = 0;  // over splits; the population's
  };
  Result result() const;  // throws Error if images are missing

 private:
  size_t stride() const { return static_cast<size_t>(classes_) + 2; }

  std::vector<int32_t> split_of_;
  int64_t classes_;
  std::vector<double> sums_;  // a split: [images, sum of p log p, sums of p]
};

}  // namespace uvic
