#include "kernels/ops/pointwise.h"

#include "kernels/cuda/launch.cuh"

namespace uvic::cuda {
namespace {

template <class F>
void with_float(DType dtype, const F& f) {
  dtype == DType::f64 ? f(0.0) : with_working(dtype, f);
}

// Through float, unless both are at least that wide.
template <class To, class From>
__device__ To convert(From x) {
  if constexpr (sizeof(From) == 2) {
    return convert<To>(to_float(x));
  } else if constexpr (sizeof(To) == 2) {
    return to_bf16(static_cast<float>(x));
  } else {
    return static_cast<To>(x);
  }
}

template <class From, class To>
struct Cast {
  const From* src;
  To* dst;
  __device__ void operator()(int64_t i) const { dst[i] = convert<To>(src[i]); }
};

template <class From, class To>
struct Accumulate {
  const From* src;
  To* dst;
  __device__ void operator()(int64_t i) const { dst[i] = from_float<To>(to_float(dst[i]) + to_float(src[i])); }
};

// Keys travel as an argument of the kernel, so that nothing has to be copied first: as many as fit in one launch.
constexpr int kKeys = 64;
template <class T>
struct RandomNormal {
  RandomKey keys[kKeys];
  int64_t n, blocks;  // of a row
  T* out;
  __device__ void operator()(int64_t i) const {
    const int64_t row = i / blocks, block = i % blocks;
    const Normal4 four = normal(philox(keys[row], static_cast<uint32_t>(block)));
    for (int j = 0; j < 4 && block * 4 + j < n; ++j) out[row * n + block * 4 + j] = static_cast<T>(four.v[j]);
  }
};

constexpr size_t kTerms = 64;
template <class T>
struct LinearCombination {
  double coefficient[kTerms];
  const T* x[kTerms];
  int count;
  T* out;
  __device__ void operator()(int64_t i) const {
    double sum = 0;
    for (int k = 0; k < count; ++k) sum += coefficient[k] * static_cast<double>(x[k][i]);
    out[i] = static_cast<T>(sum);
  }
};

template <class T>
struct Clamp {
  T low, high;
  T* x;
  // Written so that a NaN stays one: it must reach whoever checks for it.
  __device__ void operator()(int64_t i) const { x[i] = x[i] < low ? low : x[i] > high ? high : x[i]; }
};

template <class T>
struct Blend {
  const T *mask, *a;
  T* x;
  __device__ void operator()(int64_t i) const { x[i] = mask[i] == T{1} ? a[i] : x[i] + mask[i] * (a[i] - x[i]); }
};

struct PixelsToImage {
  const uint8_t* pixels;
  int64_t C, hw;
  float* image;
  __device__ void operator()(int64_t i) const {
    const int64_t b = i / (C * hw), c = i / hw % C, at = i % hw;
    image[i] = static_cast<float>(pixels[(b * hw + at) * C + c]) / 127.5f - 1.0f;
  }
};

struct ImageToPixels {
  const float* image;
  int64_t C, hw;
  uint8_t* pixels;
  __device__ void operator()(int64_t i) const {
    const int64_t b = i / (C * hw), c = i / hw % C, at = i % hw;
    const float half = 0.5f * (image[i] + 1.0f);
    const float unit = half > 0.0f ? fminf(half, 1.0f) : 0.0f;  // a NaN fails the comparison
    pixels[(b * hw + at) * C + c] = static_cast<uint8_t>(unit * 255.0f + 0.5f);
  }
};

template <class T>
__device__ double deviation(const T* v, int64_t n) {
  double sum = 0, square = 0;
  for (int64_t i = threadIdx.x; i < n; i += kThreads) sum += static_cast<double>(v[i]);
  const double mean = block_sum(sum) / static_cast<double>(n);
  for (int64_t i = threadIdx.x; i < n; i += kThreads) {
    const double d = static_cast<double>(v[i]) - mean;
    square += d * d;
  }
  return sqrt(block_sum(square) / static_cast<double>(n));
}

// match_deviation_kernel: one block an image.
template <class T>
__global__ void __launch_bounds__(kThreads) match_deviation_kernel(const T* reference, double share, int64_t n, T* x) {
  x += blockIdx.x * n;
  const double own = deviation(x, n), wanted = deviation(reference + blockIdx.x * n, n);
  if (own == 0) return;
  const double factor = 1 + share * (wanted / own - 1);
  for (int64_t i = threadIdx.x; i < n; i += kThreads) x[i] = static_cast<T>(static_cast<double>(x[i]) * factor);
}

}  // namespace

// An operand in memory that only the host reaches passes through a copy on the device, unless a copy is all there is to
// do.
void cast(Context& ctx, Tensor src, Tensor dst) {
  const auto scope = ctx.scope("cast");
  if (src.bytes() == 0 || src.raw() == dst.raw()) return;
  const cudaStream_t stream = state(ctx).stream;
  const cudaMemoryType to_memory = memory_of(dst);
  const bool to_host = to_memory != cudaMemoryTypeDevice;
  if (src.dtype() == dst.dtype()) {
    upload(ctx, src, dst);
    if (to_host) UVIC_CUDA_CHECK(cudaStreamSynchronize(stream));
    return;
  }
  const Tensor out = to_memory == cudaMemoryTypeUnregistered ? ctx.like(dst) : dst;
  if (memory_of(src) == cudaMemoryTypeUnregistered) {
    const Tensor copied = ctx.like(src);
    upload(ctx, src, copied);
    src = copied;
  }
  with_float(src.dtype(), [&](auto from) {
    with_float(dst.dtype(), [&](auto to) {
      using From = decltype(from);
      using To = decltype(to);
      for_each(ctx, out.numel(), Cast<From, To>{src.data<From>(), out.data<To>()});
    });
  });
  if (out.raw() != dst.raw())
    UVIC_CUDA_CHECK(cudaMemcpyAsync(dst.raw(), out.raw(), dst.bytes(), cudaMemcpyDefault, stream));
  if (to_host) UVIC_CUDA_CHECK(cudaStreamSynchronize(stream));
}

void accumulate(Context& ctx, Tensor src, Tensor dst) {
  with_working(src.dtype(), [&](auto from) {
    with_working(dst.dtype(), [&](auto to) {
      using From = decltype(from);
      using To = decltype(to);
      for_each(ctx, dst.numel(), Accumulate<From, To>{src.data<From>(), dst.data<To>()});
    });
  });
}

void zero(Context& ctx, Tensor dst) { UVIC_CUDA_CHECK(cudaMemsetAsync(dst.raw(), 0, dst.bytes(), state(ctx).stream)); }

void random_normal(Context& ctx, std::span<const RandomKey> keys, Tensor out) {
  const int64_t n = out.dim(1), blocks = (n + 3) / 4;
  with_exact(out.dtype(), [&](auto element) {
    using T = decltype(element);
    for (size_t first = 0; first < keys.size(); first += kKeys) {
      const auto some = keys.subspan(first, std::min<size_t>(kKeys, keys.size() - first));
      RandomNormal<T> f{{}, n, blocks, out.data<T>() + static_cast<int64_t>(first) * n};
      std::copy(some.begin(), some.end(), f.keys);
      for_each(ctx, static_cast<int64_t>(some.size()) * blocks, f);
    }
  });
}

void linear_combination(Context& ctx, std::span<const Term> terms, Tensor out) {
  UVIC_CHECK(terms.size() <= kTerms, "linear_combination: ", terms.size(), " terms, wanted ", kTerms, " or fewer");
  with_exact(out.dtype(), [&](auto element) {
    using T = decltype(element);
    LinearCombination<T> f{{}, {}, static_cast<int>(terms.size()), out.data<T>()};
    for (size_t k = 0; k < terms.size(); ++k) {
      f.coefficient[k] = terms[k].coefficient;
      f.x[k] = terms[k].x.data<T>();
    }
    for_each(ctx, out.numel(), f);
  });
}

void clamp(Context& ctx, double lo, double hi, Tensor x) {
  with_exact(x.dtype(), [&](auto element) {
    using T = decltype(element);
    for_each(ctx, x.numel(), Clamp<T>{static_cast<T>(lo), static_cast<T>(hi), x.data<T>()});
  });
}

void match_deviation(Context& ctx, Tensor reference, double share, Tensor x) {
  if (x.numel() == 0) return;
  with_exact(x.dtype(), [&](auto element) {
    using T = decltype(element);
    const int64_t B = x.dim(0);
    launch(ctx, {static_cast<unsigned>(B)}, match_deviation_kernel<T>, reference.data<T>(), share, x.numel() / B,
           x.data<T>());
  });
}

void blend(Context& ctx, Tensor mask, Tensor a, Tensor x) {
  with_exact(x.dtype(), [&](auto element) {
    using T = decltype(element);
    for_each(ctx, x.numel(), Blend<T>{mask.data<T>(), a.data<T>(), x.data<T>()});
  });
}

void pixels_to_image(Context& ctx, Tensor pixels, Tensor image) {
  for_each(ctx, image.numel(),
           PixelsToImage{pixels.data<uint8_t>(), image.dim(1), image.dim(2) * image.dim(3), image.data<float>()});
}

void image_to_pixels(Context& ctx, Tensor image, Tensor pixels) {
  for_each(ctx, image.numel(),
           ImageToPixels{image.data<float>(), image.dim(1), image.dim(2) * image.dim(3), pixels.data<uint8_t>()});
}

}  // namespace uvic::cuda
