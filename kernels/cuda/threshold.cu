#include <bit>
#include <limits>
#include <type_traits>

#include "kernels/cuda/launch.cuh"
#include "kernels/ops/pointwise.h"

namespace uvic::cuda {
namespace {

template <class T>
using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;

// |v| as an integer of the same order; NaNs are above infinity.
template <class T>
__device__ Bits<T> size_bits(T v) {
  return std::bit_cast<Bits<T>>(v) & (~Bits<T>{0} >> 1);
}

template <class T>
struct OrderStatistics {
  T at, next;
};

// The element of rank k, from 0 on, of |x[0, n)|, and the one behind it (at itself if there is none): eight bits at a
// time from the top, the elements that share those found so far are counted by their next eight. All threads call it.
template <class T>
__device__ OrderStatistics<T> order_statistics(const T* x, int64_t n, int64_t k) {
  constexpr int kDigit = 8, kBins = 1 << kDigit;
  static_assert(kBins == kThreads);
  __shared__ unsigned long long count[kBins];
  __shared__ Bits<T> found;
  __shared__ int64_t rank, equal;
  __shared__ Bits<T> least[kThreads];
  if (threadIdx.x == 0) found = 0, rank = k;
  Bits<T> mask = 0;
  for (int shift = sizeof(T) * 8 - kDigit; shift >= 0; shift -= kDigit) {
    count[threadIdx.x] = 0;
    __syncthreads();
    for (int64_t i = threadIdx.x; i < n; i += kThreads) {
      const Bits<T> bits = size_bits(x[i]);
      if ((bits & mask) == found) atomicAdd(&count[bits >> shift & (kBins - 1)], 1ull);  // of integers: in any order
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      int digit = 0;
      for (; rank >= static_cast<int64_t>(count[digit]); ++digit) rank -= static_cast<int64_t>(count[digit]);
      found |= Bits<T>(digit) << shift;
      equal = static_cast<int64_t>(count[digit]);
    }
    mask |= Bits<T>(kBins - 1) << shift;
    __syncthreads();
  }
  const T at = std::bit_cast<T>(found);
  if (rank + 1 < equal) return {at, at};
  Bits<T> above = ~Bits<T>{0};
  for (int64_t i = threadIdx.x; i < n; i += kThreads) {
    const Bits<T> bits = size_bits(x[i]);
    if (bits > found && bits < above) above = bits;
  }
  least[threadIdx.x] = above;
  __syncthreads();
  for (int i = 0; i < kThreads; ++i) above = least[i] < above ? least[i] : above;
  return {at, above == ~Bits<T>{0} ? at : std::bit_cast<T>(above)};
}

// dynamic_threshold_kernel: one block an image.
template <class T>
__global__ void __launch_bounds__(kThreads)
    dynamic_threshold_kernel(double ratio, double floor, double scale, int64_t n, T* x) {
  x += blockIdx.x * n;
  bool has_nan = false;
  for (int64_t i = threadIdx.x; i < n; i += kThreads) has_nan = has_nan || x[i] != x[i];
  if (__syncthreads_or(has_nan)) {
    for (int64_t i = threadIdx.x; i < n; i += kThreads) x[i] = std::numeric_limits<T>::quiet_NaN();
    return;
  }
  const double position = ratio * static_cast<double>(n - 1);
  const int64_t below = static_cast<int64_t>(position);
  const OrderStatistics<T> sizes = order_statistics(x, n, below);
  __syncthreads();  // all have read x
  double q = static_cast<double>(sizes.at);
  if (below + 1 < n) q += (position - static_cast<double>(below)) * (static_cast<double>(sizes.next) - q);
  q = fmax(q, floor);
  for (int64_t i = threadIdx.x; i < n; i += kThreads)
    x[i] = static_cast<T>(fmin(fmax(static_cast<double>(x[i]), -q), q) * (scale / q));
}

}  // namespace

void dynamic_threshold(Context& ctx, double ratio, double floor, double scale, Tensor x) {
  const int64_t B = x.dim(0);
  with_exact(x.dtype(), [&](auto element) {
    using T = decltype(element);
    launch(ctx, {static_cast<unsigned>(B)}, dynamic_threshold_kernel<T>, ratio, floor, scale, x.numel() / B,
           x.data<T>());
  });
}

}  // namespace uvic::cuda
