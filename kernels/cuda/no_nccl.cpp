// Stands where kernels/cuda/gpu_group.cpp would be if NCCL were there.

#include "kernels/core/gpu_group.h"

namespace uvic {
namespace {

[[noreturn]] void absent() {
  throw Error("this uvic was built without NCCL: it cannot join the GPUs of several processes",
              "install NCCL and build again, or start one process");
}

}  // namespace

bool GpuGroup::available() { return false; }

struct GpuGroup::Impl {};
GpuGroup::Id GpuGroup::make_id() { absent(); }
GpuGroup::GpuGroup(Context&, const Id&, int, int) { absent(); }
GpuGroup::~GpuGroup() = default;
void GpuGroup::begin_sum(Tensor) { absent(); }
void GpuGroup::finish_sums() { absent(); }
void GpuGroup::copy_from_first(Tensor) { absent(); }
void GpuGroup::gather(Tensor) { absent(); }

}  // namespace uvic
