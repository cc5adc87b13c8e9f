#include "kernels/ops/map_conv.h"

#include "kernels/cuda/dense_conv.h"
#include "kernels/cuda/map_device.cuh"

namespace uvic::cuda {
namespace {

// A tensor [B, reach.h, reach.w, C] of what the windows read of x.
template <class T>
struct GatherReach {
  DeviceMap<T> x;
  Reach reach;
  bool zero_outside;
  int64_t pieces;
  Piece<T>* dense;
  __device__ void operator()(int64_t t) const {
    const Place p = place(t, reach.h, reach.w, pieces);
    const int64_t row = p.i + reach.top, column = p.j + reach.left;
    const bool zero = zero_outside && (row < 0 || row >= x.index.h || column < 0 || column >= x.index.w);
    dense[t] = zero ? Piece<T>{} : x.piece({p.n, row, column, p.part});
  }
};

// y = act(sums + b), or with add: act(sums + b + y). sums [B, h, w, M] has y's channels and no gaps.
template <class Sum, class T>
struct Finish {
  const Sum* sums;
  const float* b;
  DeviceMap<T> y;
  int64_t pieces;
  bool relu, add;
  __device__ void operator()(int64_t t) const {
    const Place p = place(t, y.index.h, y.index.w, pieces);
    Piece<T>& to = y.piece(p);
    Piece<T> result = add ? to : Piece<T>{};
    for (int k = 0; k < Piece<T>::kCount; ++k) {
      float v = to_float(sums[t * Piece<T>::kCount + k]) + b[p.part * Piece<T>::kCount + k];
      v += to_float(result.v[k]);
      result.v[k] = from_float<T>(relu ? fmaxf(0.0f, v) : v);
    }
    to = result;
  }
};

// What the windows of these branches read, in place or gathered.
template <class T>
Tensor dense_input(Context& ctx, const MapConvArgs& a, const ConvBranch& branch) {
  const FeatureMap& x = a.x;
  const int64_t C = kept_channels(x.channels), pieces = C / Piece<T>::kCount;
  const Reach reach = reach_of({branch.w->kh, branch.w->kw, a.stride, a.pad_h, a.pad_w}, branch.y);
  const Shape shape{x.B, reach.h, reach.w, C};
  if (is_in_place(x, reach, C, a.stride))
    return {x.data.data<T>() + index_of(x).at(0, reach.top, reach.left), x.data.dtype(), shape};
  const Tensor dense = ctx.empty(x.data.dtype(), shape);
  for_each(ctx, dense.numel() / Piece<T>::kCount,
           GatherReach<T>{device_map<T>(x), reach, a.stride > 1, pieces, reinterpret_cast<Piece<T>*>(dense.data<T>())});
  return dense;
}

}  // namespace

// Filters [M, kh, kw, C], with M and C as maps keep them: rounded up to 16, by zeros.
PackedConv pack_conv(Context& ctx, Tensor w, Tensor b, DType dtype) {
  const auto scope = ctx.scope("pack_conv");
  PackedConv p{.M = w.dim(0), .C = w.dim(1), .kh = w.dim(2), .kw = w.dim(3), .format = map_format(ctx, dtype)};
  const int64_t M = kept_channels(p.M), C = kept_channels(p.C), taps = p.kh * p.kw;
  const OwnedTensor from({}, DType::f32, w.shape()), bias({}, DType::f32, {M});
  uvic::copy(ctx.device(), w, {}, from.tensor);
  if (b) uvic::copy(ctx.device(), b, {}, bias.tensor.rows(0, p.M));
  with_working(p.format == MapFormat::bf16 ? DType::bf16 : DType::f32, [&](auto element) {
    using T = decltype(element);
    const OwnedTensor packed({}, dtype_of<T>(), {M, p.kh, p.kw, C});
    for (int64_t m = 0; m < p.M; ++m)
      for (int64_t c = 0; c < p.C; ++c)
        for (int64_t tap = 0; tap < taps; ++tap)
          packed.tensor.data<T>()[(m * taps + tap) * C + c] =
              from_float<T>(from.tensor.data<float>()[(m * p.C + c) * taps + tap]);
    p.w = OwnedTensor(ctx.device(), packed.tensor.dtype(), packed.tensor.shape());
    uvic::copy({}, packed.tensor, ctx.device(), p.w.tensor);
  });
  p.b = OwnedTensor(ctx.device(), DType::f32, {M});
  uvic::copy({}, bias.tensor, ctx.device(), p.b.tensor);
  return p;
}

void map_conv(Context& ctx, const MapConvArgs& a, std::span<const ConvBranch> branches) {
  const auto scope = ctx.scope("map_conv");
  with_working(a.x.data.dtype(), [&](auto element) {
    using T = decltype(element);
    const Tensor dense = dense_input<T>(ctx, a, branches[0]);
    for (const ConvBranch& branch : branches) {
      const auto inner = ctx.scope("branch");
      const Tensor sums = dense_conv(ctx, {dense, branch.w->w.tensor, a.stride});
      const int64_t pieces = pieces_of<T>(branch.w->M);
      with_working(sums.dtype(), [&](auto sum) {
        using Sum = decltype(sum);
        for_each(ctx, sums.numel() / Piece<T>::kCount,
                 Finish<Sum, T>{sums.data<Sum>(), branch.w->b.tensor.data<float>(), device_map<T>(branch.y), pieces,
                                branch.relu, branch.add});
      });
    }
  });
}

}  // namespace uvic::cuda
