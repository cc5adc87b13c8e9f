#pragma once

// Runs grids, one block after the other. A block's threads take turns on fibers of one thread of the host: threads that
// wait for none share one fiber and cost a function call; where one waits for others, the next go on on another fiber.
//
// UVIC_GPU_ORDER is the order of blocks, and of threads that could go on: "forward" (the default), "reverse", or
// "shuffle" with a seed behind it if wanted. A kernel without races gives the same bits under all of them.

#include <array>
#include <cstddef>
#include <functional>

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

// Of the thread whose turn it is.
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
constexpr int warpSize = 32;

namespace emulated_gpu {

struct Grid {
  const void* kernel;
  dim3 blocks, threads;
  size_t shared;               // bytes of dynamic shared memory
  std::function<void()> body;  // of one thread
};
// On the thread of the host that emulates GPUs. Ends the program where a GPU would hang or destroy data.
void run(const Grid& grid);
constexpr size_t kMaxShared = 227 << 10;  // of a block, as on sm_90

// ---- for the functions that kernels call --------------------------------------------------------------------------
// Waits until all threads of the block are here; what they brought.
struct Meeting {
  bool any;
  int count;
};
Meeting meet_block(const char* what, bool vote);

// Waits until all lanes of mask are here with the same what. The last one calls act, whose argument has each lane's
// data, null for those that take no part.
struct Lanes {
  const char* what;
  std::array<void*, 32> data;
};
void meet_warp(const char* what, unsigned mask, void* data, void (*act)(const Lanes&));
int lane();

// Of the calling thread: copies, of zeros if from is null, that finish_copies() does.
void begin_copy(const void* from, void* to, size_t bytes);
void finish_copies();

// One line on stderr, with the kernel and the thread if there is one, then abort().
[[noreturn, gnu::format(printf, 1, 2)]] void stop(const char* format, ...);

}  // namespace emulated_gpu
