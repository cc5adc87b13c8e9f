#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <set>

#include "queue.h"

namespace emulated_gpu {
namespace {

thread_local int device = 0;
thread_local cudaError_t last_error = cudaSuccess;

constexpr unsigned kMaxThreads = 1024;
constexpr size_t kSharedUnasked = 48 << 10;
std::map<const void*, size_t> shared_limits;  // of kernels that asked for more

// Under lock(). What a call that needs a context does if there is none.
std::set<int> contexts;
void need_context() { contexts.insert(device); }

}  // namespace

int device_count() {
  const char *text = std::getenv("UVIC_GPUS"), *visible = std::getenv("CUDA_VISIBLE_DEVICES");
  if (visible && !*visible) return 0;  // which hides real ones, too
  return text ? std::atoi(text) : 1;
}

int current_device() { return device; }
bool has_context(int index) {
  const auto hold = lock();
  return contexts.count(index) > 0;
}

Calls& calls() {
  thread_local Calls own;
  return own;
}

cudaError_t record(cudaError_t status) {
  if (status != cudaSuccess) last_error = status;
  return status;
}

cudaError_t launch(const cudaLaunchConfig_t& config, const void* kernel, std::function<void()> thread,
                   const Parameter* parameters, size_t count) {
  const auto hold = lock();
  need_context();
  const dim3 &b = config.blockDim, &g = config.gridDim;
  const bool is_launchable = b.x * b.y * b.z > 0 && size_t{b.x} * b.y * b.z <= kMaxThreads && b.z <= 64 &&
                             size_t{g.x} * g.y * g.z > 0 && g.x <= 0x7fffffff && g.y <= 65535 && g.z <= 65535;
  if (!is_launchable) return record(cudaErrorInvalidConfiguration);
  const auto limit = shared_limits.find(kernel);
  if (config.dynamicSmemBytes > (limit == shared_limits.end() ? kSharedUnasked : limit->second))
    return record(cudaErrorInvalidValue);
  check_parameters(device, kernel, parameters, count);
  if (!is_recording(config.stream)) ++calls().kernels;
  return record(
      enqueue(config.stream, [grid = Grid{kernel, g, b, config.dynamicSmemBytes, std::move(thread)}] { run(grid); }));
}

namespace {

bool fits(cudaMemcpyKind kind, bool from_device, bool to_device) {
  switch (kind) {
    case cudaMemcpyHostToHost: return !from_device && !to_device;
    case cudaMemcpyHostToDevice: return !from_device && to_device;
    case cudaMemcpyDeviceToHost: return from_device && !to_device;
    case cudaMemcpyDeviceToDevice: return from_device && to_device;
    case cudaMemcpyDefault: return true;
  }
  return false;
}

// A range of memory that is GPUs' must lie inside one allocation.
bool is_whole(const void* p, size_t bytes) {
  const Allocation* a = find(p);
  return !a || reaches(a->device, p, bytes);
}

}  // namespace
}  // namespace emulated_gpu

using namespace emulated_gpu;

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
#define EMULATED_CASE(name, value, text) \
  case name: return #name;
    EMULATED_CUDA_ERRORS(EMULATED_CASE)
#undef EMULATED_CASE
  }
  return "unrecognized error code";
}

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
#define EMULATED_CASE(name, value, text) \
  case name: return text;
    EMULATED_CUDA_ERRORS(EMULATED_CASE)
#undef EMULATED_CASE
  }
  return "unrecognized error code";
}

cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }
cudaError_t cudaPeekAtLastError() { return last_error; }

cudaError_t cudaGetDeviceCount(int* count) {
  *count = device_count();
  return *count > 0 ? cudaSuccess : record(cudaErrorNoDevice);
}
cudaError_t cudaGetDevice(int* index) {
  *index = device;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int index) {
  if (index < 0 || index >= device_count()) return record(cudaErrorInvalidDevice);
  device = index;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device < 0 || device >= device_count()) return record(cudaErrorInvalidDevice);
  *properties = {"emulated GPU"};
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int index) {
  if (index < 0 || index >= device_count()) return record(cudaErrorInvalidDevice);
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount: *value = 4; return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor: *value = 9; return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor: *value = 0; return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = static_cast<int>(kMaxShared); return cudaSuccess;
  }
  return record(cudaErrorInvalidValue);
}

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute, int value) {
  const auto hold = lock();
  if (value < 0 || static_cast<size_t>(value) > kMaxShared) return record(cudaErrorInvalidValue);
  shared_limits[kernel] = static_cast<size_t>(value);
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** data, size_t bytes) {
  ++calls().waits;
  const auto hold = lock();
  need_context();
  if (disturbs_recording()) return record(cudaErrorStreamCaptureUnsupported);
  install_fault_handler();
  *data = nullptr;
  if (bytes > 0) *data = allocate(device, bytes);
  return *data || bytes == 0 ? cudaSuccess : record(cudaErrorMemoryAllocation);
}

cudaError_t cudaHostAlloc(void** data, size_t bytes, unsigned) {
  ++calls().waits;
  const auto hold = lock();
  need_context();
  if (disturbs_recording()) return record(cudaErrorStreamCaptureUnsupported);
  *data = nullptr;
  if (bytes > 0) *data = allocate(kPinned, bytes);
  return *data || bytes == 0 ? cudaSuccess : record(cudaErrorMemoryAllocation);
}

// Both wait for all that may still use the memory.
cudaError_t cudaFree(void* data) {
  ++calls().waits;
  const auto hold = lock();
  need_context();
  if (!data) return cudaSuccess;
  if (disturbs_recording()) return record(cudaErrorStreamCaptureUnsupported);
  for (int i = 0; i < device_count(); ++i) finish(i);
  return release(device, data) ? cudaSuccess : record(cudaErrorInvalidValue);
}
cudaError_t cudaFreeHost(void* data) {
  ++calls().waits;
  const auto hold = lock();
  need_context();
  if (!data) return cudaSuccess;
  if (disturbs_recording()) return record(cudaErrorStreamCaptureUnsupported);
  for (int i = 0; i < device_count(); ++i) finish(i);
  return release(kPinned, data) ? cudaSuccess : record(cudaErrorInvalidValue);
}

cudaError_t cudaMemGetInfo(size_t* available, size_t* total) {
  const auto hold = lock();
  *total = kMemory;
  *available = kMemory - allocated(device);
  return cudaSuccess;
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* pointer) {
  const auto hold = lock();
  void* const p = const_cast<void*>(pointer);
  const Allocation* a = find(pointer);
  if (!a) {
    *attributes = {cudaMemoryTypeUnregistered, -2, nullptr, p};
  } else if (a->device == kPinned) {
    *attributes = {cudaMemoryTypeHost, device, p, p};
  } else {
    *attributes = {cudaMemoryTypeDevice, a->device, p, nullptr};
  }
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  const auto hold = lock();
  if (bytes == 0) return cudaSuccess;
  const Allocation *a = find(from), *b = find(to);
  if (!a || !b) ++calls().waits;
  if ((!a || !b) && disturbs_recording()) return record(cudaErrorStreamCaptureUnsupported);
  if (!fits(kind, a && a->device != kPinned, b && b->device != kPinned) || !is_whole(from, bytes) ||
      !is_whole(to, bytes))
    return record(cudaErrorInvalidValue);
  return record(enqueue(stream, [=] { std::memcpy(to, from, bytes); }));
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  return cudaMemcpyAsync(to, from, bytes, kind, nullptr);
}

cudaError_t cudaMemsetAsync(void* data, int byte, size_t bytes, cudaStream_t stream) {
  const auto hold = lock();
  if (bytes == 0) return cudaSuccess;
  if (!find(data) || !is_whole(data, bytes)) return record(cudaErrorInvalidValue);
  return record(enqueue(stream, [=] { std::memset(data, byte, bytes); }));
}
cudaError_t cudaMemset(void* data, int byte, size_t bytes) { return cudaMemsetAsync(data, byte, bytes, nullptr); }
