#include "kernels/core/memory.h"

#include <cstring>

#include "kernels/cuda/device.h"

namespace uvic::cuda {

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

void release(int, void* data, size_t) noexcept { cudaFree(data); }

void* allocate_pinned(size_t bytes) {
  void* data = nullptr;
  UVIC_CUDA_CHECK(cudaHostAlloc(&data, bytes, cudaHostAllocPortable | cudaHostAllocMapped));
  std::memset(data, 0, bytes);
  return data;
}

void release_pinned(void* data) noexcept { cudaFreeHost(data); }

// The caller has waited for both sides, so any device's default stream will do.
void copy(const void* from, void* to, size_t bytes) {
  UVIC_CUDA_CHECK(cudaMemcpy(to, from, bytes, cudaMemcpyDefault));
  UVIC_CUDA_CHECK(cudaStreamSynchronize(cudaStreamLegacy));  // a copy inside the device has only been queued
}

void synchronize(int index) {
  select(index);
  UVIC_CUDA_CHECK(cudaDeviceSynchronize());
}

}  // namespace uvic::cuda
