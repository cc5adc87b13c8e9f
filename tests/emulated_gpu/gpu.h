#pragma once

// What the emulated libraries share: the memory of GPUs, and their streams.

#include <cstdint>
#include <functional>
#include <mutex>
#include <string>

#include "cuda_runtime.h"

namespace emulated_gpu {

constexpr int kPinned = -1;                   // in place of a GPU's index
constexpr size_t kMemory = size_t{16} << 30;  // of a GPU

// GPUs there are: UVIC_GPUS, or 1.
int device_count();
// Whether this process holds a context there: memory of the GPU, half a gigabyte of a real one. Who allocates, frees,
// pins or launches without having chosen a GPU takes one on the first.
bool has_context(int device);

// ---- memory -------------------------------------------------------------------------------------------------------
struct Allocation {
  char* data;
  size_t bytes;
  int device;   // or kPinned
  char* pages;  // reserved: a page that cannot be touched, those that hold data at their end, another
  size_t page_bytes;
};
// The allocation that holds p, or ends there; null if none does.
const Allocation* find(const void* p);
// Whether [p, p + bytes) lies inside one allocation that GPU device reaches. What holds for every pointer that a
// library is given.
bool reaches(int device, const void* p, size_t bytes);
void* allocate(int device, size_t bytes);  // null where there is no more
bool release(int device, void* data);      // false if it is the start of no allocation there
size_t allocated(int device);
// Device memory can be read and written while one of these lives; there is one at most.
class Access {
 public:
  Access();
  ~Access();
  Access(const Access&) = delete;
  Access& operator=(const Access&) = delete;
};
// What stands at p, for messages: "byte 4096 of 4096 bytes on cuda:0".
std::string describe(const void* p);

// ---- streams ------------------------------------------------------------------------------------------------------
// Held by whoever calls a function of this header or is inside one of CUDA's.
[[nodiscard]] std::unique_lock<std::recursive_mutex> lock();
// Queues work, to be done in order on the one thread of the host that emulates GPUs, when something waits for the
// stream. The default stream waits for all others at once, and does work at once.
cudaError_t enqueue(cudaStream_t stream, std::function<void()> work);
// Does all that is queued in stream, or in all streams of a GPU.
cudaError_t finish(cudaStream_t stream);
void finish(int device);
// The GPU of a stream, that of the calling thread for the default stream; -1 if there is no such stream.
int device_of(cudaStream_t stream);
int current_device();
cudaError_t record(cudaError_t status);  // for cudaGetLastError; returns status

// What the calling thread has done: calls that wait for a GPU or may, kernels started on their own, and graphs.
struct Calls {
  uint64_t waits = 0, kernels = 0, graphs = 0;
};
Calls& calls();

// Ends the program if a kernel must not be given this.
void check_parameters(int device, const void* kernel, const Parameter* parameters, size_t count);

// Prints where device memory was touched by the host, or what a kernel touched that it must not.
void install_fault_handler();
void use_own_fault_stack();  // of the calling thread: a kernel may have used up its own

// The function that begins at or holds an address, for messages.
std::string name_of_code(const void* address);
// "kernel k, block (0, 0, 0), thread 3: ", or nothing if the caller is no kernel.
std::string place();

}  // namespace emulated_gpu
