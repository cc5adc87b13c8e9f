#include "kernels/core/memory.h"

#include <cstring>
#include <map>
#include <mutex>

#include "kernels/cuda/device.h"
#include "kernels/cuda/upload_by_value.h"

namespace uvic::cuda {
namespace {

// Pinned memory that was released, by size: a loader asks for the same sizes for every batch, and each cudaHostAlloc
// takes milliseconds and stops the device. Never destroyed: static destructors run after CUDA is gone.
struct PinnedPool {
  static constexpr size_t kMost = 32;  // pieces kept
  std::mutex mutex;
  std::multimap<size_t, void*> free;
};
PinnedPool& pinned_pool() {
  static auto* pool = new PinnedPool;
  return *pool;
}

}  // namespace

void* allocate(int index, size_t bytes) {
  select(index);
  void* data = nullptr;
  const cudaError_t status = cudaMalloc(&data, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    size_t available = 0, total = 0;
    UVIC_CUDA_CHECK(cudaMemGetInfo(&available, &total));
    throw Error(concat("out of memory on cuda:", index, ": ", bytes >> 20, " MiB wanted, ", available >> 20,
                       " MiB free of ", total >> 20),
                "a smaller batch needs less; in training also train.accumulate and train.recompute");
  }
  UVIC_CUDA_CHECK(status);
  UVIC_CUDA_CHECK(cudaMemset(data, 0, bytes));
  return data;
}

// A thread that has chosen no GPU would make itself a context on the first one, of half a gigabyte: to free memory, or
// to pin some, takes one.
void release(int index, void* data, size_t) noexcept {
  cudaSetDevice(index);
  cudaFree(data);
}

void* allocate_pinned(int index, size_t bytes) {
  void* data = nullptr;
  {
    PinnedPool& pool = pinned_pool();
    const std::lock_guard lock(pool.mutex);
    if (const auto found = pool.free.find(bytes); found != pool.free.end()) {
      data = found->second;
      pool.free.erase(found);
    }
  }
  if (!data) {
    select(index);
    UVIC_CUDA_CHECK(cudaHostAlloc(&data, bytes, cudaHostAllocPortable | cudaHostAllocMapped));
  }
  std::memset(data, 0, bytes);
  return data;
}

void release_pinned(int index, void* data, size_t bytes) noexcept {
  PinnedPool& pool = pinned_pool();
  try {
    const std::lock_guard lock(pool.mutex);
    if (pool.free.size() < PinnedPool::kMost) {
      pool.free.emplace(bytes, data);
      return;
    }
  } catch (...) {  // no memory to remember it by
  }
  cudaSetDevice(index);
  cudaFreeHost(data);
}

// The caller has waited for both sides, so any device's default stream will do.
void copy(const void* from, void* to, size_t bytes) {
  UVIC_CUDA_CHECK(cudaMemcpy(to, from, bytes, cudaMemcpyDefault));
  UVIC_CUDA_CHECK(cudaStreamSynchronize(cudaStreamLegacy));  // a copy inside the device has only been queued
}

// A copy from pageable memory may be done behind the call's back, in the stream's order: CUDA only says that it might
// not be, and a GPU that reads such memory itself needs no staging. What asked for the copy goes on to change it.
void upload(Context& ctx, Tensor from, Tensor to) {
  const cudaStream_t stream = state(ctx).stream;
  const bool pageable = memory_of(from) == cudaMemoryTypeUnregistered;
  if (pageable && from.bytes() <= kMostByValue) return upload_by_value(ctx, from, to);
  UVIC_CUDA_CHECK(cudaMemcpyAsync(to.raw(), from.raw(), from.bytes(), cudaMemcpyDefault, stream));
  if (pageable) UVIC_CUDA_CHECK(cudaStreamSynchronize(stream));
}

void download(Context& ctx, Tensor from, Tensor to) {
  upload(ctx, from, to);
  UVIC_CUDA_CHECK(cudaStreamSynchronize(state(ctx).stream));
}

namespace {

// A point in a stream's work.
struct Mark {
  cudaEvent_t event = nullptr;
  Mark() { UVIC_CUDA_CHECK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming)); }
  ~Mark() { cudaEventDestroy(event); }
  Mark(const Mark&) = delete;
  Mark& operator=(const Mark&) = delete;
};

}  // namespace

void set_mark(Context& ctx, std::shared_ptr<void>& mark) {
  const cudaStream_t stream = state(ctx).stream;
  if (!mark) mark = std::make_shared<Mark>();
  UVIC_CUDA_CHECK(cudaEventRecord(static_cast<Mark*>(mark.get())->event, stream));
}

void wait_for(Context& ctx, const std::shared_ptr<void>& mark) {
  select(ctx.device().index);
  UVIC_CUDA_CHECK(cudaEventSynchronize(static_cast<Mark*>(mark.get())->event));
}

void synchronize(int index) {
  select(index);
  UVIC_CUDA_CHECK(cudaDeviceSynchronize());
}

size_t total_memory(int index) {
  select(index);
  size_t available = 0, total = 0;
  UVIC_CUDA_CHECK(cudaMemGetInfo(&available, &total));
  return total;
}

}  // namespace uvic::cuda
