#include "kernels/ops/feature_map.h"

#include "kernels/ops/check.h"
#include "kernels/ops/feature_map_check.h"

namespace uvic {
namespace cpu {
FeatureMap make_feature_map(Context& ctx, const MapSize& size);
void unfold(Context& ctx, Tensor image, const Window& window, FeatureMap y);
void to_tensor(Context& ctx, const FeatureMap& x, Tensor y);
void from_tensor(Context& ctx, Tensor x, FeatureMap y);
void to_planes(Context& ctx, const FeatureMap& x, Tensor y);
void max_pool(Context& ctx, const FeatureMap& x, const Window& window, FeatureMap y);
void average_pool(Context& ctx, const FeatureMap& x, const Window& window, Tensor b, FeatureMap y);
void spatial_mean(Context& ctx, const FeatureMap& x, Tensor y);
}  // namespace cpu
namespace cuda {
FeatureMap make_feature_map(Context& ctx, const MapSize& size);
void unfold(Context& ctx, Tensor image, const Window& window, FeatureMap y);
void to_tensor(Context& ctx, const FeatureMap& x, Tensor y);
void from_tensor(Context& ctx, Tensor x, FeatureMap y);
void to_planes(Context& ctx, const FeatureMap& x, Tensor y);
void max_pool(Context& ctx, const FeatureMap& x, const Window& window, FeatureMap y);
void average_pool(Context& ctx, const FeatureMap& x, const Window& window, Tensor b, FeatureMap y);
void spatial_mean(Context& ctx, const FeatureMap& x, Tensor y);
}  // namespace cuda

namespace {

// That every window of y has at least one pixel inside h x w: else there is no largest value and no mean.
void check_window(const char* op, const Window& g, int64_t h, int64_t w, const FeatureMap& y) {
  UVIC_CHECK(g.kh > 0 && g.kw > 0 && g.stride > 0 && g.pad_h >= 0 && g.pad_w >= 0 && g.pad_h < g.kh && g.pad_w < g.kw,
             op, ": a window of ", g.kh, " x ", g.kw, ", stride ", g.stride, ", padding ", g.pad_h, ", ", g.pad_w);
  UVIC_CHECK((y.h - 1) * g.stride - g.pad_h < h && (y.w - 1) * g.stride - g.pad_w < w, op, ": y is ", y.h, " x ", y.w,
             ", but at stride ", g.stride, " its last windows lie outside of x, ", h, " x ", w);
}

void check_pool(const char* op, const FeatureMap& x, const Window& g, const FeatureMap& y) {
  check_map(op, "x", x);
  check_map(op, "y", y);
  check_window(op, g, x.h, x.w, y);
  UVIC_CHECK(x.B == y.B && x.channels == y.channels && x.format() == y.format(), op, ": x has ", x.B, " images of ",
             x.channels, " channels, y ", y.B, " of ", y.channels);
  UVIC_CHECK(g.kh * g.kw <= kMostPooled, op, ": windows of ", g.kh, " x ", g.kw, ", wanted at most ", kMostPooled,
             " pixels");
  UVIC_CHECK(x.channels % 16 == 0, op, ": ", x.channels, " channels, wanted a multiple of 16");
  UVIC_CHECK(x.data.raw() != y.data.raw(), op, ": y lies in the map of x");
}

}  // namespace

FeatureMap FeatureMap::range(int64_t begin, int64_t count) const {
  UVIC_CHECK(begin >= 0 && count > 0 && begin + count <= channels, "FeatureMap::range: channels ", begin, " to ",
             begin + count, " of ", channels);
  FeatureMap part = *this;
  part.first += begin;
  part.channels = count;
  return part;
}

FeatureMap FeatureMap::images(int64_t begin, int64_t count) const {
  UVIC_CHECK(begin >= 0 && count > 0 && begin + count <= B, "FeatureMap::images: ", begin, " to ", begin + count,
             " of ", B);
  FeatureMap part = *this;
  part.first_pixel += begin * image();
  part.B = count;
  return part;
}

FeatureMap FeatureMap::rows(int64_t begin, int64_t count) const {
  UVIC_CHECK(B == 1 && begin >= 0 && count > 0 && begin + count <= h, "FeatureMap::rows: ", begin, " to ",
             begin + count, " of ", h, " in ", B, " images");
  FeatureMap part = *this;
  part.first_pixel += begin * row();
  part.h = count;
  return part;
}

MapFormat map_format(const Context& ctx, DType dtype) {
  if (!on_cpu(ctx)) return dtype == DType::bf16 ? MapFormat::bf16 : MapFormat::f32;
  return ctx.isa() < Isa::amx ? MapFormat::f32 : dtype == DType::bf16 ? MapFormat::bf16 : MapFormat::split;
}

FeatureMap make_feature_map(Context& ctx, const MapSize& s) {
  UVIC_CHECK(s.B > 0 && s.h > 0 && s.w > 0 && s.channels > 0 && s.gap_h >= 0 && s.gap_w >= 0,
             "make_feature_map: ", Shape{s.B, s.h, s.w, s.channels}, " with gaps of ", s.gap_h, " and ", s.gap_w);
  return on_cpu(ctx) ? cpu::make_feature_map(ctx, s) : cuda::make_feature_map(ctx, s);
}

void unfold(Context& ctx, Tensor image, const Window& window, FeatureMap y) {
  constexpr const char* op = "unfold";
  check_rank(op, "image", image, 4);
  check_dtype(op, "image", image, {DType::f32});
  check_map(op, "y", y);
  check_window(op, window, image.dim(2), image.dim(3), y);
  const int64_t wanted = image.dim(1) * window.kh * window.kw;
  UVIC_CHECK(y.B == image.dim(0) && y.first == 0 && y.channels == wanted, op, ": y has ", y.B, " images of ",
             y.channels, " channels from ", y.first, " on, wanted ", image.dim(0), " of ", wanted, " from 0 on");
  on_cpu(ctx) ? cpu::unfold(ctx, image, window, y) : cuda::unfold(ctx, image, window, y);
}

void to_tensor(Context& ctx, const FeatureMap& x, Tensor y) {
  check_map("to_tensor", "x", x);
  check_dtype("to_tensor", "y", y, {DType::f32, DType::bf16});
  check("to_tensor", "y", y, y.dtype(), {x.B, x.h, x.w, x.channels});
  on_cpu(ctx) ? cpu::to_tensor(ctx, x, y) : cuda::to_tensor(ctx, x, y);
}

void from_tensor(Context& ctx, Tensor x, FeatureMap y) {
  check_map("from_tensor", "y", y);
  check_dtype("from_tensor", "x", x, {DType::f32, DType::bf16});
  check("from_tensor", "x", x, x.dtype(), {y.B, y.h, y.w, y.channels});
  on_cpu(ctx) ? cpu::from_tensor(ctx, x, y) : cuda::from_tensor(ctx, x, y);
}

void to_planes(Context& ctx, const FeatureMap& x, Tensor y) {
  check_map("to_planes", "x", x);
  check("to_planes", "y", y, DType::f32, {x.B, x.channels, x.h, x.w});
  on_cpu(ctx) ? cpu::to_planes(ctx, x, y) : cuda::to_planes(ctx, x, y);
}

void max_pool(Context& ctx, const FeatureMap& x, const Window& window, FeatureMap y) {
  check_pool("max_pool", x, window, y);
  on_cpu(ctx) ? cpu::max_pool(ctx, x, window, y) : cuda::max_pool(ctx, x, window, y);
}

void average_pool(Context& ctx, const FeatureMap& x, const Window& window, Tensor b, FeatureMap y) {
  check_pool("average_pool", x, window, y);
  check("average_pool", "b", b, DType::f32, {x.channels});
  on_cpu(ctx) ? cpu::average_pool(ctx, x, window, b, y) : cuda::average_pool(ctx, x, window, b, y);
}

void spatial_mean(Context& ctx, const FeatureMap& x, Tensor y) {
  check_map("spatial_mean", "x", x);
  check("spatial_mean", "y", y, DType::f32, {x.B, x.channels});
  on_cpu(ctx) ? cpu::spatial_mean(ctx, x, y) : cuda::spatial_mean(ctx, x, y);
}

}  // namespace uvic
