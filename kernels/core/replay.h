#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <vector>

#include "kernels/core/context.h"

namespace uvic {

// Work that is done over and over in the same memory. On a GPU its launches are recorded once and then started as one
// (CUDA graphs): to launch the hundreds of kernels of a small network one by one takes longer than they run.
class Replay {
 public:
  // Does work(), which may only call ops: it must not wait for the device, copy from or to the host, or leave anything
  // in ctx's arena. over: the tensors that it reads and writes outside of what it allocates itself. The third time they
  // and the arena stand where they stood before, and from then on, work is not called: what it launched the second
  // time is. All else that it depends on (weights' places, scalars) must stay as it is while this object lives, or go
  // with another variant. While ctx is profiling, and on a CPU, work is always called.
  void run(Context& ctx, std::initializer_list<Tensor> over, const std::function<void()>& work, int64_t variant = 0);

 private:
  std::shared_ptr<void> graphs_;  // the backend's, made on first use
};

}  // namespace uvic
