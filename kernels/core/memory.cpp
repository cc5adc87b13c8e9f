#include "kernels/core/memory.h"

#include <unistd.h>

#include <cstring>
#include <fstream>
#include <string>

namespace uvic {

// One definition each in kernels/cpu/memory.cpp and kernels/cuda.
namespace cpu {
void* allocate(size_t bytes);
void release(void* data, size_t bytes) noexcept;
}  // namespace cpu
namespace cuda {
void* allocate(int index, size_t bytes);
void release(int index, void* data, size_t bytes) noexcept;
void* allocate_pinned(int index, size_t bytes);
void release_pinned(int index, void* data, size_t bytes) noexcept;
void copy(const void* from, void* to, size_t bytes);
void synchronize(int index);
size_t total_memory(int index);
}  // namespace cuda

namespace {

void* allocate(Device device, size_t bytes) {
  switch (device.kind) {
    case DeviceKind::cpu: return cpu::allocate(bytes);
    case DeviceKind::cuda: return cuda::allocate(device.index, bytes);
    case DeviceKind::pinned: return cuda::allocate_pinned(device.index, bytes);
  }
  return nullptr;
}

}  // namespace

std::string Device::str() const {
  if (kind == DeviceKind::cuda) return "cuda:" + std::to_string(index);
  return kind == DeviceKind::cpu ? "cpu" : "pinned";
}

Buffer::Buffer(Device device, size_t bytes) : size_(bytes), device_(device) {
  if (bytes == 0) return;
  data_ = allocate(device, bytes);
}

Buffer::~Buffer() {
  if (!data_) return;
  switch (device_.kind) {
    case DeviceKind::cpu: cpu::release(data_, size_); break;
    case DeviceKind::cuda: cuda::release(device_.index, data_, size_); break;
    case DeviceKind::pinned: cuda::release_pinned(device_.index, data_, size_); break;
  }
}

Tensor Buffer::tensor(DType dtype, Shape shape, size_t offset) const {
  const size_t bytes = static_cast<size_t>(shape.numel()) * size_of(dtype);
  UVIC_CHECK(offset <= size_ && bytes <= size_ - offset, "a view ", shape, " of ", dtype, " at byte ", offset,
             " does not fit a buffer of ", size_, " bytes");
  return {static_cast<char*>(data_) + offset, dtype, shape};
}

void copy(Device from_device, Tensor from, Device to_device, Tensor to) {
  UVIC_CHECK(from.dtype() == to.dtype() && from.shape() == to.shape(), "copy: from is ", from.dtype(), " ",
             from.shape(), ", to is ", to.dtype(), " ", to.shape());
  if (from.bytes() == 0) return;
  if (from_device.kind != DeviceKind::cuda && to_device.kind != DeviceKind::cuda) {
    std::memcpy(to.raw(), from.raw(), from.bytes());
    return;
  }
  synchronize(from_device);
  synchronize(to_device);
  cuda::copy(from.raw(), to.raw(), from.bytes());
}

void synchronize(Device device) {
  if (device.kind == DeviceKind::cuda) cuda::synchronize(device.index);
}

size_t total_memory(Device device) {
  if (device.kind == DeviceKind::cuda) return cuda::total_memory(device.index);
  return static_cast<size_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(::sysconf(_SC_PAGESIZE));
}

size_t available_host_memory() {
  std::ifstream meminfo("/proc/meminfo");
  std::string key, unit;
  size_t kib = 0;
  while (meminfo >> key >> kib) {
    std::getline(meminfo, unit);
    if (key == "MemAvailable:") return kib * 1024;
  }
  return SIZE_MAX;
}

}  // namespace uvic
