#pragma once

#include "app/processes.h"

namespace uvic {

// Sums gradients over processes while backward still makes others: parts that are done are put together to buckets of a
// few MB, and a bucket that is full is on its way.
class GradientSum {
 public:
  GradientSum(Processes& processes, Tensor gradients) : processes_(processes), gradients_(gradients) {}

  void done(int64_t begin, int64_t end);  // as UViC::GradientsDone
  void finish();                          // all gradients are sums now

 private:
  void send();

  Processes& processes_;
  Tensor gradients_;             // flat f32
  int64_t begin_ = 0, end_ = 0;  // done and not on its way
};

}  // namespace uvic
