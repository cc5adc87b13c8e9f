#pragma once

#include <cstdint>
#include <random>
#include <vector>

namespace uvic {

// NumPy's RandomState(seed), with which the published tools choose their subsets: the same numbers.
class NumpyRandom {
 public:
  explicit NumpyRandom(uint32_t seed) : words_(seed) {}

  // permutation(n); the first k of it are choice(n, k, replace=False). n is at most 2^32.
  std::vector<int64_t> permutation(int64_t n);

 private:
  std::mt19937 words_;  // seeded as NumPy does, by Knuth's recurrence
};

}  // namespace uvic
