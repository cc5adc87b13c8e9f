#pragma once

#include <cublasLt.h>
#include <cuda_runtime.h>

#include <array>
#include <map>
#include <memory>

#include "kernels/core/context.h"
#include "kernels/cuda/plan_cache.h"

namespace uvic::cuda {

// Throws Error unless status is success: the call, what CUDA says of it, file and line. The op is the scope's to tell.
void check(cudaError_t status, const char* call, const char* file, int line);
void check(cublasStatus_t status, const char* call, const char* file, int line);
#define UVIC_CUDA_CHECK(call) ::uvic::cuda::check((call), #call, __FILE__, __LINE__)

// Makes GPU index the calling thread's. Throws Error where there is none, or one that is too old.
void select(int index);

// A product that cuBLASLt was asked for once: what describes it, and the algorithm it chose.
struct Plan;
using PlanKey = PlanCache::Problem;
struct Cudnn;  // cuDNN, and its plans

// What a Context has on its GPU: one stream, on which all of its work runs in order, and cuBLASLt with its workspace.
class DeviceState {
 public:
  explicit DeviceState(Context& ctx);
  ~DeviceState();
  DeviceState(const DeviceState&) = delete;
  DeviceState& operator=(const DeviceState&) = delete;

  // A blocking stream: it waits for what the default stream does (zeroing, copies), and the other way round.
  cudaStream_t stream = nullptr;
  cublasLtHandle_t blas = nullptr;
  Buffer workspace;  // for one product at a time
  std::map<PlanKey, std::shared_ptr<Plan>> plans;
  PlanCache timed;               // of ctx.timed_plans()
  std::shared_ptr<Cudnn> cudnn;  // none before the first convolution
};

// The state of ctx, whose GPU becomes the calling thread's.
DeviceState& state(Context& ctx);

// cudaMemoryTypeUnregistered: only the host reaches it; cudaMemoryTypeHost: pinned.
cudaMemoryType memory_of(const Tensor& t);

// What ops/transfer.h promises; from may be on the device, too.
void upload(Context& ctx, Tensor from, Tensor to);

}  // namespace uvic::cuda
