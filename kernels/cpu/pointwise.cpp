#include "kernels/ops/pointwise.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/core/with_dtype.h"
#include "kernels/cpu/parallel.h"

namespace uvic::cpu {
namespace {

// Elements of one piece. These loops run at the speed of memory in the AVX2 code the compiler makes of them, so they
// have no second copy in simd/.
constexpr int64_t kPiece = 1 << 14;

template <class F>
void with_float(DType dtype, const F& f) {
  dtype == DType::f64 ? f(0.0) : with_working(dtype, f);
}

// Through float, unless both are at least that wide.
template <class To, class From>
To convert(From x) {
  if constexpr (sizeof(From) == 2) {
    return convert<To>(to_float(x));
  } else if constexpr (sizeof(To) == 2) {
    return to_bf16(static_cast<float>(x));
  } else {
    return static_cast<To>(x);
  }
}

// f(b) for B images of n elements.
template <class F>
void for_each_image(const Context& ctx, int64_t B, int64_t n, const F& f) {
  parallel_for(ctx, B, rows_for(n), [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) f(b);
  });
}

}  // namespace

void cast(Context& ctx, Tensor src, Tensor dst) {
  with_float(src.dtype(), [&](auto from) {
    with_float(dst.dtype(), [&](auto to) {
      using From = decltype(from);
      using To = decltype(to);
      const From* s = src.data<From>();
      To* d = dst.data<To>();
      parallel_for(ctx, dst.numel(), kPiece, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) d[i] = convert<To>(s[i]);
      });
    });
  });
}

void accumulate(Context& ctx, Tensor src, Tensor dst) {
  with_working(src.dtype(), [&](auto from) {
    with_working(dst.dtype(), [&](auto to) {
      using From = decltype(from);
      using To = decltype(to);
      const From* s = src.data<From>();
      To* d = dst.data<To>();
      parallel_for(ctx, dst.numel(), kPiece, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) d[i] = from_float<To>(to_float(d[i]) + to_float(s[i]));
      });
    });
  });
}

void zero(Context& ctx, Tensor dst) {
  char* d = static_cast<char*>(dst.raw());
  parallel_for(ctx, static_cast<int64_t>(dst.bytes()), kPiece * 16,
               [&](int64_t begin, int64_t end) { std::memset(d + begin, 0, static_cast<size_t>(end - begin)); });
}

void random_normal(Context& ctx, std::span<const RandomKey> keys, Tensor out) {
  const int64_t n = out.dim(1), blocks = (n + 3) / 4;
  with_exact(out.dtype(), [&](auto element) {
    using T = decltype(element);
    parallel_for(ctx, out.dim(0) * blocks, kPiece / 4, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t row = i / blocks, block = i % blocks;
        const Normal4 four = normal(philox(keys[static_cast<size_t>(row)], static_cast<uint32_t>(block)));
        T* to = out.data<T>() + row * n + block * 4;
        for (int64_t j = 0; j < std::min<int64_t>(4, n - block * 4); ++j) to[j] = static_cast<T>(four.v[j]);
      }
    });
  });
}

void linear_combination(Context& ctx, std::span<const Term> terms, Tensor out) {
  with_exact(out.dtype(), [&](auto element) {
    using T = decltype(element);
    parallel_for(ctx, out.numel(), kPiece, [&](int64_t begin, int64_t end) {
      // A block's sums are complete before it is stored, so out may be any of the terms.
      constexpr int64_t kBlock = 256;
      std::array<double, kBlock> sum;
      for (int64_t at = begin; at < end; at += kBlock) {
        const int64_t n = std::min(kBlock, end - at);
        sum.fill(0);
        for (const Term& term : terms) {
          const T* x = term.x.data<T>() + at;
          for (int64_t i = 0; i < n; ++i) sum[static_cast<size_t>(i)] += term.coefficient * static_cast<double>(x[i]);
        }
        T* to = out.data<T>() + at;
        for (int64_t i = 0; i < n; ++i) to[i] = static_cast<T>(sum[static_cast<size_t>(i)]);
      }
    });
  });
}

void clamp(Context& ctx, double lo, double hi, Tensor x) {
  with_exact(x.dtype(), [&](auto element) {
    using T = decltype(element);
    const T low = static_cast<T>(lo), high = static_cast<T>(hi);
    T* v = x.data<T>();
    parallel_for(ctx, x.numel(), kPiece, [&](int64_t begin, int64_t end) {
      // Written so that a NaN stays one: it must reach whoever checks for it.
      for (int64_t i = begin; i < end; ++i) v[i] = v[i] < low ? low : v[i] > high ? high : v[i];
    });
  });
}

void dynamic_threshold(Context& ctx, double ratio, double floor, double scale, Tensor x) {
  const auto scope = ctx.scope("dynamic_threshold");
  const Tensor sizes = ctx.like(x);  // |x|, in no order
  const int64_t B = x.dim(0), n = x.numel() / B;
  with_exact(x.dtype(), [&](auto element) {
    using T = decltype(element);
    parallel_for(ctx, B, 1, [&](int64_t b, int64_t) {
      T *v = x.data<T>() + b * n, *size = sizes.data<T>() + b * n;
      bool has_nan = false;
      for (int64_t i = 0; i < n; ++i) size[i] = std::abs(v[i]), has_nan = has_nan || std::isnan(v[i]);
      if (has_nan) return std::fill(v, v + n, std::numeric_limits<T>::quiet_NaN());
      const double position = ratio * static_cast<double>(n - 1);
      const auto below = static_cast<int64_t>(position);
      std::nth_element(size, size + below, size + n);
      double q = static_cast<double>(size[below]);
      if (below + 1 < n)  // the next order statistic is the least of those behind
        q += (position - static_cast<double>(below)) *
             (static_cast<double>(*std::min_element(size + below + 1, size + n)) - q);
      q = std::max(q, floor);
      for (int64_t i = 0; i < n; ++i) v[i] = static_cast<T>(std::clamp(static_cast<double>(v[i]), -q, q) * (scale / q));
    });
  });
}

void match_deviation(Context& ctx, Tensor reference, double share, Tensor x) {
  const int64_t B = x.dim(0), n = x.numel() / std::max<int64_t>(B, 1);
  with_exact(x.dtype(), [&](auto element) {
    using T = decltype(element);
    const auto deviation = [n](const T* v) {
      double mean = 0, square = 0;
      for (int64_t i = 0; i < n; ++i) mean += static_cast<double>(v[i]);
      mean /= static_cast<double>(n);
      for (int64_t i = 0; i < n; ++i) square += (static_cast<double>(v[i]) - mean) * (static_cast<double>(v[i]) - mean);
      return std::sqrt(square / static_cast<double>(n));
    };
    for_each_image(ctx, B, n, [&](int64_t b) {
      T* v = x.data<T>() + b * n;
      const double own = deviation(v);
      if (own == 0) return;
      const double factor = 1 + share * (deviation(reference.data<T>() + b * n) / own - 1);
      for (int64_t i = 0; i < n; ++i) v[i] = static_cast<T>(static_cast<double>(v[i]) * factor);
    });
  });
}

void blend(Context& ctx, Tensor mask, Tensor a, Tensor x) {
  with_exact(x.dtype(), [&](auto element) {
    using T = decltype(element);
    const T *m = mask.data<T>(), *from = a.data<T>();
    T* v = x.data<T>();
    parallel_for(ctx, x.numel(), kPiece, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) v[i] = m[i] == 1 ? from[i] : v[i] + m[i] * (from[i] - v[i]);
    });
  });
}

void noising(Context& ctx, Tensor x0, Tensor eps, Tensor alpha, Tensor sigma, Tensor x_t) {
  const int64_t B = x0.dim(0), n = x0.numel() / std::max<int64_t>(B, 1);
  for_each_image(ctx, B, n, [&](int64_t b) {
    const float a = alpha.data<float>()[b], s = sigma.data<float>()[b];
    const float *x = x0.data<float>() + b * n, *e = eps.data<float>() + b * n;
    float* to = x_t.data<float>() + b * n;
    for (int64_t i = 0; i < n; ++i) to[i] = a * x[i] + s * e[i];
  });
}

void sample_posterior(Context& ctx, Tensor moments, Tensor noise, double scale, Tensor z) {
  const int64_t B = z.dim(0), n = z.numel() / std::max<int64_t>(B, 1);
  for_each_image(ctx, B, n, [&](int64_t b) {
    const float *mean = moments.data<float>() + b * 2 * n, *log_variance = mean + n;
    const float* e = noise.data<float>() + b * n;
    float* to = z.data<float>() + b * n;
    const auto s = static_cast<float>(scale);
    for (int64_t i = 0; i < n; ++i)
      to[i] = s * (mean[i] + std::exp(0.5f * std::clamp(log_variance[i], -30.0f, 20.0f)) * e[i]);
  });
}

void mse(Context& ctx, Tensor pred, Tensor target, Tensor weight, Tensor loss, Tensor dpred) {
  const int64_t B = pred.dim(0), n = pred.numel() / B;
  for_each_image(ctx, B, n, [&](int64_t b) {
    const float *p = pred.data<float>() + b * n, *t = target.data<float>() + b * n;
    const double w = weight ? static_cast<double>(weight.data<float>()[b]) : 1.0;
    const float slope = static_cast<float>(w * 2 / (static_cast<double>(B) * static_cast<double>(n)));
    float* d = dpred ? dpred.data<float>() + b * n : nullptr;
    std::array<double, 8> sum{};  // eight chains of additions instead of one
    for (int64_t i = 0; i < n; i += 8)
      for (int64_t j = 0; j < std::min<int64_t>(8, n - i); ++j) {
        const float e = p[i + j] - t[i + j];
        sum[static_cast<size_t>(j)] += static_cast<double>(e) * static_cast<double>(e);
        if (d) d[i + j] = slope * e;
      }
    double total = 0;
    for (const double s : sum) total += s;
    loss.data<float>()[b] = static_cast<float>(total / static_cast<double>(n));
  });
}

void pixels_to_image(Context& ctx, Tensor pixels, Tensor image) {
  const int64_t C = image.dim(1), hw = image.dim(2) * image.dim(3);
  for_each_image(ctx, image.dim(0), C * hw, [&](int64_t b) {
    const uint8_t* src = pixels.data<uint8_t>() + b * C * hw;
    float* dst = image.data<float>() + b * C * hw;
    for (int64_t c = 0; c < C; ++c)
      for (int64_t i = 0; i < hw; ++i) dst[c * hw + i] = static_cast<float>(src[i * C + c]) / 127.5f - 1.0f;
  });
}

void image_to_pixels(Context& ctx, Tensor image, Tensor pixels) {
  const int64_t C = image.dim(1), hw = image.dim(2) * image.dim(3);
  for_each_image(ctx, image.dim(0), C * hw, [&](int64_t b) {
    const float* src = image.data<float>() + b * C * hw;
    uint8_t* dst = pixels.data<uint8_t>() + b * C * hw;
    for (int64_t c = 0; c < C; ++c)
      for (int64_t i = 0; i < hw; ++i) {
        const float half = 0.5f * (src[c * hw + i] + 1.0f);
        const float unit = half > 0.0f ? std::min(half, 1.0f) : 0.0f;  // a NaN fails the comparison
        dst[i * C + c] = static_cast<uint8_t>(unit * 255.0f + 0.5f);
      }
  });
}

}  // namespace uvic::cpu
