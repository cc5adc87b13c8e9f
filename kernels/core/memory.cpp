#include "kernels/core/memory.h"

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
}  // namespace cuda

std::string Device::str() const { return kind == DeviceKind::cpu ? "cpu" : "cuda:" + std::to_string(index); }

Buffer::Buffer(Device device, size_t bytes) : size_(bytes), device_(device) {
  if (bytes == 0) return;
  data_ = device.kind == DeviceKind::cpu ? cpu::allocate(bytes) : cuda::allocate(device.index, bytes);
}

Buffer::~Buffer() {
  if (!data_) return;
  if (device_.kind == DeviceKind::cpu) {
    cpu::release(data_, size_);
  } else {
    cuda::release(device_.index, data_, size_);
  }
}

Tensor Buffer::tensor(DType dtype, Shape shape, size_t offset) const {
  const size_t bytes = static_cast<size_t>(shape.numel()) * size_of(dtype);
  UVIC_CHECK(offset <= size_ && bytes <= size_ - offset, "a view ", shape, " of ", dtype, " at byte ", offset,
             " does not fit a buffer of ", size_, " bytes");
  return {static_cast<char*>(data_) + offset, dtype, shape};
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
