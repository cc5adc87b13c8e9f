#pragma once

#include "app/exchange.h"

namespace uvic {

// Sums gradients over processes while backward still makes others: parts that are done are put together to buckets of a
// few MB, and a bucket that is full is on its way: between GPUs by NCCL, if each process has its own. Else MPI sums in
// memory of the host, and gradients on a GPU are copied there and back, each bucket once backward has made it.
class GradientSum {
 public:
  // gradients: flat f32, on exchange's device.
  GradientSum(Exchange& exchange, Tensor gradients);

  void done(int64_t begin, int64_t end);  // as UViC::GradientsDone
  void finish();                          // all gradients are sums now; the next step may begin
  // Whether these are NCCL's: then nothing waits, and what both functions give the GPU can be recorded.
  bool between_gpus() const { return exchange_.gpus() != nullptr; }

 private:
  void send();

  Exchange& exchange_;
  Tensor gradients_;
  OwnedTensor summed_;           // what MPI sums: gradients_ itself, or memory of the host like it
  int64_t begin_ = 0, end_ = 0;  // done and not on its way
};

}  // namespace uvic
