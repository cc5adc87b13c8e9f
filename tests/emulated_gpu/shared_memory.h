#pragma once

#include <cstddef>

namespace emulated_gpu {

// A block's shared memory is thread_local memory of the thread that emulates GPUs. Fills all of it with NaN.
void fill_shared_memory(size_t dynamic);
// Ends the program if a kernel wrote behind its dynamic bytes.
void check_shared_memory(size_t dynamic);

}  // namespace emulated_gpu
