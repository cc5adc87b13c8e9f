#include "kernels/ops/map_conv.h"

#include "kernels/ops/check.h"
#include "kernels/ops/feature_map_check.h"

namespace uvic {
namespace cpu {
PackedConv pack_conv(Context& ctx, Tensor w, Tensor b, DType dtype);
void map_conv(Context& ctx, const MapConvArgs& a, std::span<const ConvBranch> branches);
}  // namespace cpu
namespace cuda {
PackedConv pack_conv(Context& ctx, Tensor w, Tensor b, DType dtype);
void map_conv(Context& ctx, const MapConvArgs& a, std::span<const ConvBranch> branches);
}  // namespace cuda

namespace {

constexpr const char* kOp = "map_conv";

const char* name_of(MapFormat format) {
  return format == MapFormat::f32 ? "f32" : format == MapFormat::bf16 ? "bf16" : "split bf16";
}

// How far windows of size k reach out of n pixels when they give `out` results, at stride 1, has to lie in a gap.
void check_reach(const char* what, int64_t k, int64_t pad, int64_t out, int64_t n, int64_t gap) {
  const int64_t reach = std::max(pad, out - 1 + k - 1 - pad - (n - 1));
  UVIC_CHECK(reach <= gap, kOp, ": windows of ", k, " reach ", reach, ' ', what, " out of x, whose gap is ", gap);
}

void check_branch(const MapConvArgs& a, const ConvBranch& branch, const ConvBranch& first) {
  const PackedConv& w = *branch.w;
  const FeatureMap& y = branch.y;
  check_map(kOp, "y", y);
  UVIC_CHECK(w.C == a.x.channels, kOp, ": x and w disagree on C: ", a.x.channels, " against ", w.C);
  UVIC_CHECK(w.M == y.channels, kOp, ": y and w disagree on M: ", y.channels, " against ", w.M);
  UVIC_CHECK(w.kh == first.w->kh && w.kw == first.w->kw, kOp, ": filters of ", w.kh, " x ", w.kw, " beside filters of ",
             first.w->kh, " x ", first.w->kw);
  UVIC_CHECK(y.B == a.x.B && y.h == first.y.h && y.w == first.y.w, kOp, ": y is ", Shape{y.B, y.h, y.w}, ", wanted ",
             Shape{a.x.B, first.y.h, first.y.w});
  UVIC_CHECK(y.format() == a.x.format() && w.format == a.x.format(), kOp,
             ": x, w and y are of different formats: ", name_of(a.x.format()), ", ", name_of(w.format), ", ",
             name_of(y.format()));
  UVIC_CHECK(y.data.raw() != a.x.data.raw(), kOp, ": y lies in the map of x");
  UVIC_CHECK(w.M % 16 == 0 || y.first + w.M > y.pitch() - 16, kOp, ": ", w.M,
             " channels that are not the last of y, wanted a multiple of 16");
  const int64_t rounded = (w.C + 15) / 16 * 16;
  UVIC_CHECK(rounded % 32 == 0 || (rounded == a.x.pitch() && (w.kw == 1 || a.stride == 1)), kOp, ": ", w.C,
             " channels of a map of ", a.x.pitch(), " at stride ", a.stride,
             ", wanted the whole of it at stride 1, or a multiple of 32");
}

}  // namespace

PackedConv pack_conv(Context& ctx, Tensor w, Tensor b, DType dtype) {
  constexpr const char* op = "pack_conv";
  check_rank(op, "w", w, 4);
  check_dtype(op, "w", w, {DType::f32});
  check_optional(op, "b", b, DType::f32, {w.dim(0)});
  return on_cpu(ctx) ? cpu::pack_conv(ctx, w, b, dtype) : cuda::pack_conv(ctx, w, b, dtype);
}

void map_conv(Context& ctx, const MapConvArgs& a, std::span<const ConvBranch> branches) {
  check_map(kOp, "x", a.x);
  UVIC_CHECK(!branches.empty(), kOp, ": nothing to compute");
  UVIC_CHECK((a.stride == 1 || a.stride == 2) && a.pad_h >= 0 && a.pad_w >= 0, kOp, ": stride ", a.stride, ", padding ",
             a.pad_h, ", ", a.pad_w, "; wanted stride 1 or 2");
  for (const ConvBranch& branch : branches) check_branch(a, branch, branches[0]);
  const ConvBranch& first = branches[0];
  UVIC_CHECK(a.pad_h < first.w->kh && a.pad_w < first.w->kw, kOp, ": padding ", a.pad_h, ", ", a.pad_w,
             " is as wide as the window, ", first.w->kh, " x ", first.w->kw);
  if (a.stride == 1) {
    check_reach("rows", first.w->kh, a.pad_h, first.y.h, a.x.h, a.x.gap_h);
    check_reach("columns", first.w->kw, a.pad_w, first.y.w, a.x.w, a.x.gap_w);
  }
  on_cpu(ctx) ? cpu::map_conv(ctx, a, branches) : cuda::map_conv(ctx, a, branches);
}

}  // namespace uvic
