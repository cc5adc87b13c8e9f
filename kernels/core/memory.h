#pragma once

#include <cstddef>
#include <string>
#include <utility>

#include "kernels/core/tensor.h"

namespace uvic {

// pinned is host memory that cannot be paged out: a GPU copies from it at full speed, and reaches it at its own
// address. Only a build with CUDA has it, and no Context runs there. To take it from the system is slow, so that what
// is released is given out again: copies from it must be done by then.
enum class DeviceKind : uint8_t { cpu, cuda, pinned };

struct Device {
  DeviceKind kind = DeviceKind::cpu;
  int index = 0;
  bool operator==(const Device&) const = default;
  std::string str() const;  // "cpu", "cuda:1"
};

// The memory of the host that data for device should lie in: pinned for a GPU. All GPUs reach it; the index says which
// one's driver is asked for it.
inline Device host_memory_for(Device device) {
  return {device.kind == DeviceKind::cpu ? DeviceKind::cpu : DeviceKind::pinned, device.index};
}

// Owns bytes on a device, aligned to 64 (host) or 256 (CUDA, pinned), zero-filled. Throws Error when they cannot be
// had.
class Buffer {
 public:
  Buffer() = default;
  Buffer(Device device, size_t bytes);
  Buffer(Buffer&& o) noexcept { swap(o); }
  Buffer& operator=(Buffer&& o) noexcept {
    swap(o);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer();

  void* data() const { return data_; }
  size_t size() const { return size_; }
  Device device() const { return device_; }
  // A view of the bytes from offset on.
  Tensor tensor(DType dtype, Shape shape, size_t offset = 0) const;

 private:
  void swap(Buffer& o) noexcept {
    std::swap(data_, o.data_);
    std::swap(size_, o.size_);
    std::swap(device_, o.device_);
  }
  void* data_ = nullptr;
  size_t size_ = 0;
  Device device_;
};

// A Buffer and one tensor that covers it.
struct OwnedTensor {
  OwnedTensor() = default;
  OwnedTensor(Device device, DType dtype, Shape shape)
      : buffer(device, static_cast<size_t>(shape.numel()) * size_of(dtype)), tensor(buffer.tensor(dtype, shape)) {}
  Buffer buffer;
  Tensor tensor;
};

// to = from, which has its dtype and shape; each on its own device. Waits for all that was queued on either before, and
// until the copy is done.
void copy(Device from_device, Tensor from, Device to_device, Tensor to);
// Waits for all that was queued on device. What went wrong in a kernel is an Error here, if not before.
void synchronize(Device device);
// GPUs of this machine that uvic can run on; 0 in a build without CUDA.
int gpu_count();

// Bytes that a device has in all, used or not.
size_t total_memory(Device device);
// Bytes that this machine can still give without swapping; SIZE_MAX where that cannot be told.
size_t available_host_memory();

}  // namespace uvic
