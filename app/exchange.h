#pragma once

#include <memory>

#include "app/processes.h"
#include "kernels/core/gpu_group.h"

namespace uvic {

// What the devices of the processes of one run tell each other: from GPU to GPU by NCCL, if each process has its own.
// Else by MPI, and what is on a GPU goes through memory of the host. Every process makes the same calls in the same
// order.
class Exchange {
 public:
  // Both must outlive this.
  Exchange(Context& ctx, Processes& processes);

  Context& ctx() const { return ctx_; }
  Processes& processes() const { return processes_; }
  GpuGroup* gpus() const { return gpus_.get(); }  // null where MPI has to do

  // x, flat, on ctx's device, in as many equal parts as there are processes, each whole cache lines: a part becomes
  // what it is in its process. In order with ctx's work.
  void gather(Tensor x);
  // x, flat, on ctx's device, becomes what it is in the first process.
  void copy_from_first(Tensor x) const;

 private:
  Context& ctx_;
  Processes& processes_;
  std::unique_ptr<GpuGroup> gpus_;
  OwnedTensor staged_;  // what gather() last took through the host, if it did
};

}  // namespace uvic
