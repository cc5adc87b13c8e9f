#include "kernels/core/gpu_group.h"

#include <nccl.h>

#include <cstring>
#include <exception>

#include "kernels/cuda/device.h"

namespace uvic {
namespace {

static_assert(sizeof(ncclUniqueId) == sizeof(GpuGroup::Id));

void check(ncclResult_t status, const char* call, int line) {
  if (status != ncclSuccess) fail("NCCL: ", ncclGetErrorString(status), " in ", call, ", ", __FILE__, ":", line);
}
#define UVIC_NCCL_CHECK(call) check((call), #call, __LINE__)

}  // namespace

struct GpuGroup::Impl {
  Context& ctx;
  ncclComm_t comm = nullptr;
  cudaStream_t stream = nullptr;                // of the sums
  cudaEvent_t queued = nullptr, sum = nullptr;  // what they wait for; what waits for them
  int rank, size;
  int exceptions = std::uncaught_exceptions();

  Impl(Context& c, int process, int processes) : ctx(c), rank(process), size(processes) {}
  // Leaves without a word to the others if this process fails: their launcher ends them.
  ~Impl() {
    if (comm) std::uncaught_exceptions() > exceptions ? ncclCommAbort(comm) : ncclCommDestroy(comm);
    if (queued) cudaEventDestroy(queued);
    if (sum) cudaEventDestroy(sum);
    if (stream) cudaStreamDestroy(stream);
  }
};

bool GpuGroup::available() { return true; }

GpuGroup::Id GpuGroup::make_id() {
  ncclUniqueId unique;
  UVIC_NCCL_CHECK(ncclGetUniqueId(&unique));
  Id id;
  std::memcpy(id.data(), &unique, sizeof unique);
  return id;
}

GpuGroup::GpuGroup(Context& ctx, const Id& id, int rank, int size) : impl_(std::make_unique<Impl>(ctx, rank, size)) {
  cuda::state(ctx);  // makes its GPU the calling thread's
  UVIC_CUDA_CHECK(cudaStreamCreateWithFlags(&impl_->stream, cudaStreamNonBlocking));
  UVIC_CUDA_CHECK(cudaEventCreateWithFlags(&impl_->queued, cudaEventDisableTiming));
  UVIC_CUDA_CHECK(cudaEventCreateWithFlags(&impl_->sum, cudaEventDisableTiming));
  ncclUniqueId unique;
  std::memcpy(&unique, id.data(), sizeof unique);
  UVIC_NCCL_CHECK(ncclCommInitRank(&impl_->comm, size, unique, rank));
}

GpuGroup::~GpuGroup() = default;

void GpuGroup::begin_sum(Tensor x) {
  UVIC_CUDA_CHECK(cudaEventRecord(impl_->queued, cuda::state(impl_->ctx).stream));
  UVIC_CUDA_CHECK(cudaStreamWaitEvent(impl_->stream, impl_->queued, 0));
  UVIC_NCCL_CHECK(ncclAllReduce(x.raw(), x.data<float>(), static_cast<size_t>(x.numel()), ncclFloat, ncclSum,
                                impl_->comm, impl_->stream));
}

void GpuGroup::finish_sums() {
  UVIC_CUDA_CHECK(cudaEventRecord(impl_->sum, impl_->stream));
  UVIC_CUDA_CHECK(cudaStreamWaitEvent(cuda::state(impl_->ctx).stream, impl_->sum, 0));
}

void GpuGroup::copy_from_first(Tensor x) {
  UVIC_NCCL_CHECK(ncclBroadcast(x.raw(), x.raw(), x.bytes(), ncclChar, 0, impl_->comm, cuda::state(impl_->ctx).stream));
}

void GpuGroup::gather(Tensor x) {
  const size_t bytes = x.bytes() / static_cast<size_t>(impl_->size);
  UVIC_CHECK(bytes * static_cast<size_t>(impl_->size) == x.bytes(), "gather: ", x.shape(), " in ", impl_->size,
             " parts");
  const char* own = static_cast<char*>(x.raw()) + bytes * static_cast<size_t>(impl_->rank);
  UVIC_NCCL_CHECK(ncclAllGather(own, x.raw(), bytes, ncclChar, impl_->comm, cuda::state(impl_->ctx).stream));
}

}  // namespace uvic
