#include "kernels/ops/feature_map.h"

#include "kernels/cuda/map_device.cuh"

namespace uvic::cuda {
namespace {

constexpr int64_t kMostRuns = 16;  // of an image that spatial_mean sums: its maps are small, and there are many

template <class T>
struct ClearGaps {
  DeviceMap<T> map;
  int64_t pieces;
  __device__ void operator()(int64_t t) const {
    if (!map.index.is_inside(t / pieces)) reinterpret_cast<Piece<T>*>(map.data)[t] = {};
  }
};

// Number k of a pixel is that at (k / kw / kh, k / kw % kh, k % kw) of its window; those behind the last are zero.
template <class T>
struct Unfold {
  const float* image;
  int64_t C, h, w, numbers;
  Window g;
  DeviceMap<T> y;
  __device__ void operator()(int64_t t) const {
    const Place p = place(t, y.index.h, y.index.w, numbers);
    const int64_t c = p.part / g.kw / g.kh, row = p.i * g.stride - g.pad_h + p.part / g.kw % g.kh,
                  column = p.j * g.stride - g.pad_w + p.part % g.kw;
    const bool inside = c < C && row >= 0 && row < h && column >= 0 && column < w;
    y.at(p.n, p.i, p.j)[p.part] = from_float<T>(inside ? image[((p.n * C + c) * h + row) * w + column] : 0.0f);
  }
};

template <class T, class U>
struct ToTensor {
  DeviceMap<const T> x;
  int64_t channels;
  U* y;
  __device__ void operator()(int64_t t) const {
    const Place p = place(t, x.index.h, x.index.w, channels);
    y[t] = from_float<U>(to_float(x.at(p.n, p.i, p.j)[p.part]));
  }
};

template <class T, class U>
struct FromTensor {
  const U* x;
  int64_t channels, kept;
  DeviceMap<T> y;
  __device__ void operator()(int64_t t) const {
    const Place p = place(t, y.index.h, y.index.w, kept);
    const int64_t pixel = t / kept;
    y.at(p.n, p.i, p.j)[p.part] = from_float<T>(p.part < channels ? to_float(x[pixel * channels + p.part]) : 0.0f);
  }
};

template <class T>
struct ToPlanes {
  DeviceMap<const T> x;
  int64_t channels;
  float* y;
  __device__ void operator()(int64_t t) const {
    const int64_t plane = x.index.h * x.index.w, c = t / plane % channels;
    const Place p = place(t % plane, x.index.h, x.index.w, 1);
    y[t] = to_float(x.at(t / plane / channels, p.i, p.j)[c]);
  }
};

// Pixels of x that a window holds: rows [top, bottom), columns [left, right).
struct Inside {
  int64_t top, bottom, left, right;
  __device__ Inside(const Window& g, const MapIndex& x, const Place& p)
      : top(max(int64_t{0}, p.i * g.stride - g.pad_h)),
        bottom(min(x.h, p.i * g.stride - g.pad_h + g.kh)),
        left(max(int64_t{0}, p.j * g.stride - g.pad_w)),
        right(min(x.w, p.j * g.stride - g.pad_w + g.kw)) {}
};

template <class T>
struct MaxPool {
  DeviceMap<T> x, y;
  Window g;
  int64_t pieces;
  __device__ void operator()(int64_t t) const {
    const Place p = place(t, y.index.h, y.index.w, pieces);
    const Inside in(g, x.index, p);
    Piece<T> most = x.piece({p.n, in.top, in.left, p.part});
    for (int64_t i = in.top; i < in.bottom; ++i)
      for (int64_t j = in.left; j < in.right; ++j) {
        const Piece<T> v = x.piece({p.n, i, j, p.part});
        for (int k = 0; k < Piece<T>::kCount; ++k)
          if (to_float(v.v[k]) > to_float(most.v[k])) most.v[k] = v.v[k];
      }
    y.piece(p) = most;
  }
};

template <class T>
struct AveragePool {
  DeviceMap<T> x, y;
  Window g;
  int64_t pieces;
  const float* b;
  __device__ void operator()(int64_t t) const {
    const Place p = place(t, y.index.h, y.index.w, pieces);
    const Inside in(g, x.index, p);
    float sum[Piece<T>::kCount] = {};
    for (int64_t i = in.top; i < in.bottom; ++i)
      for (int64_t j = in.left; j < in.right; ++j) {
        const Piece<T> v = x.piece({p.n, i, j, p.part});
        for (int k = 0; k < Piece<T>::kCount; ++k) sum[k] += to_float(v.v[k]);
      }
    const float share = 1.0f / static_cast<float>((in.bottom - in.top) * (in.right - in.left));
    Piece<T> mean;
    for (int k = 0; k < Piece<T>::kCount; ++k)
      mean.v[k] = from_float<T>(fmaxf(0.0f, __fmaf_rn(sum[k], share, b[p.part * Piece<T>::kCount + k])));
    y.piece(p) = mean;
  }
};

struct SpatialMean {
  MapSums from;
  int64_t C;
  double pixels;
  float* y;
  __device__ void operator()(int64_t t) const {
    double sum = 0;
    for (int64_t run = 0; run < from.runs; ++run) sum += from.sums[(t / C * from.runs + run) * C + t % C];
    y[t] = static_cast<float>(sum / pixels);
  }
};

}  // namespace

FeatureMap make_feature_map(Context& ctx, const MapSize& s) {
  FeatureMap m{.B = s.B, .h = s.h, .w = s.w, .gap_h = s.gap_h, .gap_w = s.gap_w, .channels = s.channels, .sides = 2};
  const int64_t pixels = m.origin() + m.B * m.image();
  m.data = ctx.empty(map_format(ctx, s.dtype) == MapFormat::f32 ? DType::f32 : DType::bf16,
                     {pixels, kept_channels(s.channels)});
  if (m.gap_h == 0 && m.gap_w == 0) return m;
  with_working(m.data.dtype(), [&](auto element) {
    using T = decltype(element);
    const int64_t pieces = pieces_of<T>(s.channels);
    for_each(ctx, pixels * pieces, ClearGaps<T>{device_map<T>(m), pieces});
  });
  return m;
}

void unfold(Context& ctx, Tensor image, const Window& window, FeatureMap y) {
  with_working(y.data.dtype(), [&](auto element) {
    using T = decltype(element);
    for_each(
        ctx, pixels_of(y) * y.pitch(),
        Unfold<T>{image.data<float>(), image.dim(1), image.dim(2), image.dim(3), y.pitch(), window, device_map<T>(y)});
  });
}

void to_tensor(Context& ctx, const FeatureMap& x, Tensor y) {
  with_working(x.data.dtype(), [&](auto from) {
    with_working(y.dtype(), [&](auto to) {
      using T = decltype(from);
      using U = decltype(to);
      for_each(ctx, y.numel(), ToTensor<T, U>{{x.data.data<T>(), index_of(x)}, x.channels, y.data<U>()});
    });
  });
}

void from_tensor(Context& ctx, Tensor x, FeatureMap y) {
  const int64_t kept = kept_channels(y.channels);
  with_working(y.data.dtype(), [&](auto to) {
    with_working(x.dtype(), [&](auto from) {
      using T = decltype(to);
      using U = decltype(from);
      for_each(ctx, pixels_of(y) * kept, FromTensor<T, U>{x.data<U>(), y.channels, kept, device_map<T>(y)});
    });
  });
}

void to_planes(Context& ctx, const FeatureMap& x, Tensor y) {
  with_working(x.data.dtype(), [&](auto element) {
    using T = decltype(element);
    for_each(ctx, y.numel(), ToPlanes<T>{{x.data.data<T>(), index_of(x)}, x.channels, y.data<float>()});
  });
}

void max_pool(Context& ctx, const FeatureMap& x, const Window& window, FeatureMap y) {
  with_working(x.data.dtype(), [&](auto element) {
    using T = decltype(element);
    const int64_t pieces = pieces_of<T>(y.channels);
    for_each(ctx, pixels_of(y) * pieces, MaxPool<T>{device_map<T>(x), device_map<T>(y), window, pieces});
  });
}

void average_pool(Context& ctx, const FeatureMap& x, const Window& window, Tensor b, FeatureMap y) {
  with_working(x.data.dtype(), [&](auto element) {
    using T = decltype(element);
    const int64_t pieces = pieces_of<T>(y.channels);
    for_each(ctx, pixels_of(y) * pieces,
             AveragePool<T>{device_map<T>(x), device_map<T>(y), window, pieces, b.data<float>()});
  });
}

void spatial_mean(Context& ctx, const FeatureMap& x, Tensor y) {
  const auto scope = ctx.scope("spatial_mean");
  with_working(x.data.dtype(), [&](auto element) {
    const MapSums sums = map_sums<1, decltype(element)>(ctx, x, kMostRuns);
    for_each(ctx, y.numel(), SpatialMean{sums, x.channels, static_cast<double>(x.h * x.w), y.data<float>()});
  });
}

}  // namespace uvic::cuda
