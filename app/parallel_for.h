#pragma once

#include <cstddef>
#include <functional>

namespace uvic {

// Calls work(i) once for every i below count, from so many threads (0: one per core), of which this is one. The first
// exception ends it, and is thrown here when all threads have come back.
void parallel_for(size_t count, int threads, const std::function<void(size_t)>& work);

}  // namespace uvic
