#include "kernels/cpu/feature_map.h"

#include <cstring>

#include "kernels/core/with_dtype.h"

namespace uvic::cpu {
namespace {

const FeatureMapKernels& kernels(const Context& ctx) {
  return pick(ctx, avx2::feature_map_kernels, avx512::feature_map_kernels);
}

constexpr int64_t kMostChannels = 4096;  // of a pixel that is gathered on the stack

int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

// Calls f(at, count, y_at) for every pixel of y with the positions of the window's pixels that lie inside x.
template <class F>
void for_windows(Context& ctx, const FeatureMap& x, const Window& g, const FeatureMap& y, const F& f) {
  for_rows(ctx, y, g.kh * g.kw, [&](int64_t n, int64_t i) {
    int64_t at[kMostPooled];
    const int64_t top = i * g.stride - g.pad_h;
    for (int64_t j = 0; j < y.w; ++j) {
      const int64_t left = j * g.stride - g.pad_w;
      int64_t count = 0;
      for (int64_t r = std::max<int64_t>(0, top); r < std::min(x.h, top + g.kh); ++r)
        for (int64_t c = std::max<int64_t>(0, left); c < std::min(x.w, left + g.kw); ++c)
          at[count++] = pixel_at(x, n, r, c) * x.pitch();
      f(at, count, pixel_at(y, n, i, j) * y.pitch());
    }
  });
}

// Calls f(pixel, at, scratch) for every pixel of m, counted over all images, with its position in numbers and room for
// its channels, which are 0.
template <class F>
void for_pixels(Context& ctx, const FeatureMap& m, const F& f) {
  UVIC_CHECK(m.channels <= kMostChannels, "a feature map of ", m.channels, " channels, wanted at most ", kMostChannels);
  for_rows(ctx, m, 1, [&](int64_t n, int64_t i) {
    float scratch[kMostChannels] = {};
    for (int64_t j = 0; j < m.w; ++j)
      f((n * m.h + i) * m.w + j, pixel_at(m, n, i, j) * m.pitch(), static_cast<float*>(scratch));
  });
}

}  // namespace

FeatureMap make_feature_map(Context& ctx, const MapSize& s) {
  FeatureMap m{.B = s.B, .h = s.h, .w = s.w, .gap_h = s.gap_h, .gap_w = s.gap_w, .channels = s.channels};
  const int64_t pixels = m.origin() + m.B * m.image() + kSparePixels, pitch = round_up(s.channels, 16);
  const MapFormat format = map_format(ctx, s.dtype);
  const bool split = format == MapFormat::split;
  m.data = split ? ctx.empty(DType::bf16, {2, pixels, pitch})
                 : ctx.empty(format == MapFormat::f32 ? DType::f32 : DType::bf16, {pixels, pitch});
  char* data = static_cast<char*>(m.data.raw());
  const size_t bytes = static_cast<size_t>(pitch) * size_of(m.data.dtype());
  const auto clear = [&](int64_t begin, int64_t end) {
    for (int64_t plane = 0; plane < (split ? 2 : 1); ++plane)
      std::memset(data + static_cast<size_t>(plane * pixels + begin) * bytes, 0,
                  static_cast<size_t>(end - begin) * bytes);
  };
  clear(0, m.origin());
  clear(pixels - kSparePixels, pixels);
  if (m.gap_h == 0 && m.gap_w == 0) return m;
  parallel_for(ctx, m.B, rows_for(m.h * pitch), [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      for (int64_t i = 0; i < m.h; ++i) clear(pixel_at(m, n, i, m.w), pixel_at(m, n, i + 1, 0));
      clear(pixel_at(m, n, m.h, 0), pixel_at(m, n + 1, 0, 0));
    }
  });
  return m;
}

void unfold(Context& ctx, Tensor image, const Window& g, FeatureMap y) {
  const auto scope = ctx.scope("unfold");
  constexpr int64_t kNumbers = 4096;  // gathered before they are converted: they stay in L1
  const int64_t C = image.dim(1), h = image.dim(2), w = image.dim(3), pitch = y.pitch();
  UVIC_CHECK(pitch <= kNumbers, "unfold: ", pitch, " channels, wanted at most ", kNumbers);
  for_rows(ctx, y, 1, [&](int64_t n, int64_t i) {
    float gathered[kNumbers];
    const int64_t most = kNumbers / pitch;
    for (int64_t first = 0; first < y.w; first += most) {
      const int64_t count = std::min(most, y.w - first);
      std::fill(gathered, gathered + count * pitch, 0.0f);
      for (int64_t c = 0; c < C; ++c)
        for (int64_t ky = 0; ky < g.kh; ++ky) {
          const int64_t from = i * g.stride - g.pad_h + ky;
          if (from < 0 || from >= h) continue;
          const float* x = image.data<float>() + ((n * C + c) * h + from) * w;
          float* to = gathered + (c * g.kh + ky) * g.kw;
          for (int64_t j = first; j < first + count; ++j, to += pitch) {
            const int64_t left = j * g.stride - g.pad_w;
            for (int64_t kx = std::max<int64_t>(0, -left); kx < std::min(g.kw, w - left); ++kx) to[kx] = x[left + kx];
          }
        }
      kernels(ctx).store(gathered, count * pitch, numbers(y), pixel_at(y, n, i, first) * pitch);
    }
  });
}

void to_tensor(Context& ctx, const FeatureMap& x, Tensor y) {
  for_pixels(ctx, x, [&](int64_t pixel, int64_t at, float* values) {
    kernels(ctx).fetch(numbers(x), at, round_up(x.channels, 16), values);
    with_working(y.dtype(), [&](auto element) {
      using T = decltype(element);
      T* to = y.data<T>() + pixel * x.channels;
      for (int64_t c = 0; c < x.channels; ++c) to[c] = from_float<T>(values[c]);
    });
  });
}

void from_tensor(Context& ctx, Tensor x, FeatureMap y) {
  for_pixels(ctx, y, [&](int64_t pixel, int64_t at, float* values) {
    with_working(x.dtype(), [&](auto element) {
      using T = decltype(element);
      const T* from = x.data<T>() + pixel * y.channels;
      for (int64_t c = 0; c < y.channels; ++c) values[c] = to_float(from[c]);
    });
    kernels(ctx).store(values, round_up(y.channels, 16), numbers(y), at);
  });
}

void to_planes(Context& ctx, const FeatureMap& x, Tensor y) {
  const int64_t plane = x.h * x.w;
  for_pixels(ctx, x, [&](int64_t pixel, int64_t at, float* values) {
    kernels(ctx).fetch(numbers(x), at, round_up(x.channels, 16), values);
    float* to = y.data<float>() + pixel / plane * x.channels * plane + pixel % plane;
    for (int64_t c = 0; c < x.channels; ++c) to[c * plane] = values[c];
  });
}

void max_pool(Context& ctx, const FeatureMap& x, const Window& window, FeatureMap y) {
  const auto scope = ctx.scope("max_pool");
  for_windows(ctx, x, window, y, [&](const int64_t* at, int64_t count, int64_t y_at) {
    kernels(ctx).max(numbers(x), at, count, x.channels, numbers(y), y_at);
  });
}

void average_pool(Context& ctx, const FeatureMap& x, const Window& window, Tensor b, FeatureMap y) {
  const auto scope = ctx.scope("average_pool");
  for_windows(ctx, x, window, y, [&](const int64_t* at, int64_t count, int64_t y_at) {
    kernels(ctx).mean(numbers(x), at, count, 1.0f / static_cast<float>(count), b.data<float>(), x.channels, numbers(y),
                      y_at);
  });
}

void spatial_mean(Context& ctx, const FeatureMap& x, Tensor y) {
  const auto scope = ctx.scope("spatial_mean");
  const int64_t n = round_up(x.channels, 16);
  double* sums = ctx.empty(DType::f64, {x.B, n}).data<double>();
  parallel_for(ctx, x.B, rows_for(x.h * x.w * x.channels), [&](int64_t begin, int64_t end) {
    for (int64_t image = begin; image < end; ++image) {
      double* sum = sums + image * n;
      std::fill(sum, sum + n, 0.0);
      for (int64_t i = 0; i < x.h; ++i)
        kernels(ctx).sum(numbers(x), pixel_at(x, image, i, 0) * x.pitch(), x.pitch(), x.w, n, sum);
      for (int64_t c = 0; c < x.channels; ++c)
        y.data<float>()[image * x.channels + c] = static_cast<float>(sum[c] / static_cast<double>(x.h * x.w));
    }
  });
}

}  // namespace uvic::cpu
