#pragma once

#include <algorithm>
#include <cstdint>
#include <exception>

#include "kernels/core/context.h"

namespace uvic::cpu {

// Calls f(begin, end) for consecutive pieces of [0, n), each grain long but the last. Where pieces begin depends on n
// and grain alone, never on the number of threads, so a sum over pieces taken in order is the same on any machine.
// An exception in f is rethrown here, once every piece has ended.
template <class F>
void parallel_for(const Context& ctx, int64_t n, int64_t grain, const F& f) {
  const int64_t pieces = (n + grain - 1) / grain;
  std::exception_ptr error;
#ifdef _OPENMP
#pragma omp parallel for schedule(static) num_threads(ctx.threads()) if (pieces > 1)
#endif
  for (int64_t i = 0; i < pieces; ++i) {
    try {
      f(i * grain, std::min(n, (i + 1) * grain));
    } catch (...) {
#ifdef _OPENMP
#pragma omp critical(uvic_parallel_for)
#endif
      error = std::current_exception();
    }
  }
  if (error) std::rethrow_exception(error);
  (void)ctx;
}

// The grain that makes a piece about 16,384 elements of rows this long: enough to pay for waking a thread.
inline int64_t rows_for(int64_t row) { return std::max<int64_t>(1, 16384 / std::max<int64_t>(row, 1)); }

// The copy of a kernel table that this Context may run; see cpu/simd.
template <class Table>
const Table& pick(const Context& ctx, const Table& avx2, const Table& avx512) {
  return ctx.isa() >= Isa::avx512 ? avx512 : avx2;
}

}  // namespace uvic::cpu
