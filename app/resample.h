#pragma once

#include <vector>

#include "app/resize.h"

namespace uvic {

// Pillow's resampling of one dimension: output i is the sum of weight[i * width + j] times input first[i] + j, over j
// in [0, count[i]). Antialiased: when shrinking, the filter widens.
struct Taps {
  int width = 0;               // most weights of any output
  std::vector<int> first;      // [out]
  std::vector<int> count;      // [out]
  std::vector<double> weight;  // [out, width]; those of an output add up to 1
};
Taps make_taps(int in, int out, Filter filter);

}  // namespace uvic
