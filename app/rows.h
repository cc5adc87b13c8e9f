#pragma once

#include <cstdint>

namespace uvic {

// Rows [begin, end) of a batch.
struct Rows {
  int64_t begin = 0, end = 0;

  int64_t count() const { return end - begin; }
  // Part index of as many, in order, whose sizes differ by one at most.
  Rows part(int64_t index, int64_t parts) const {
    return {begin + count() * index / parts, begin + count() * (index + 1) / parts};
  }
};

}  // namespace uvic
