#pragma once

#include <array>
#include <memory>

#include "kernels/core/context.h"

namespace uvic {

// The GPUs of several processes, one each, that add up tensors from device to device (NCCL). Every process makes the
// same calls in the same order. Throws Error in a build without NCCL.
class GpuGroup {
 public:
  static bool available();  // whether this build has NCCL

  // What joins the processes: the first of them makes it, and hands it to the others before any constructs its group.
  using Id = std::array<char, 128>;
  static Id make_id();

  // Waits until all size processes are here. ctx, whose GPU no other process has, must outlive this.
  GpuGroup(Context& ctx, const Id& id, int rank, int size);
  // If an exception is on its way, does not wait for the others. A Replay that recorded sums must be gone before, or
  // NCCL waits for it for ever.
  ~GpuGroup();
  GpuGroup(const GpuGroup&) = delete;
  GpuGroup& operator=(const GpuGroup&) = delete;

  // x (f32, on ctx's GPU) becomes the sum over all processes, the same bits everywhere. What ctx has queued before is
  // awaited, what it is given afterwards runs beside the sum: it must not touch x until finish_sums().
  void begin_sum(Tensor x);
  // What ctx is given from now on comes after the sums. The host does not wait. A Replay can record from begin_sum() to
  // here.
  void finish_sums();
  // x (any dtype, on ctx's GPU) becomes what it is in the first process, in the order of ctx's work.
  void copy_from_first(Tensor x);
  // x (any dtype, on ctx's GPU, in equal parts, one a process): a part becomes what it is in its process, in the order
  // of ctx's work.
  void gather(Tensor x);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace uvic
