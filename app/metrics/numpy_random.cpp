#include "app/metrics/numpy_random.h"

#include <bit>
#include <numeric>

namespace uvic {

// Fisher-Yates from the end; a number below i + 1 is drawn by throwing away those above i under the smallest mask.
std::vector<int64_t> NumpyRandom::permutation(int64_t n) {
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  for (size_t i = order.size(); i-- > 1;) {
    const uint32_t largest = static_cast<uint32_t>(i), mask = ~uint32_t{0} >> std::countl_zero(largest);
    uint32_t j = 0;
    do {
      j = static_cast<uint32_t>(words_()) & mask;
    } while (j > largest);
    std::swap(order[i], order[j]);
  }
  return order;
}

}  // namespace uvic
