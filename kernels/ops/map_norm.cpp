#include "kernels/ops/map_norm.h"

#include "kernels/ops/check.h"
#include "kernels/ops/feature_map_check.h"

namespace uvic {
namespace cpu {
void group_norm(Context& ctx, const GroupNormArgs& a, Tensor coefficients);
void map_rows(Context& ctx, const MapRowsArgs& a, FeatureMap y);
}  // namespace cpu
namespace cuda {
void group_norm(Context& ctx, const GroupNormArgs& a, Tensor coefficients);
void map_rows(Context& ctx, const MapRowsArgs& a, FeatureMap y);
}  // namespace cuda

void group_norm(Context& ctx, const GroupNormArgs& a, Tensor coefficients) {
  constexpr const char* op = "group_norm";
  check_map(op, "x", a.x);
  const int64_t C = a.x.channels;
  UVIC_CHECK(a.groups > 0 && C % a.groups == 0 && C % 16 == 0, op, ": ", C, " channels in ", a.groups,
             " groups, wanted a multiple of 16 and of the groups");
  UVIC_CHECK(a.eps > 0, op, ": eps is ", a.eps, ", wanted more than 0");
  check(op, "w", a.w, DType::f32, {C});
  check(op, "b", a.b, DType::f32, {C});
  check(op, "coefficients", coefficients, DType::f32, {a.x.B, 2, C});
  on_cpu(ctx) ? cpu::group_norm(ctx, a, coefficients) : cuda::group_norm(ctx, a, coefficients);
}

void map_rows(Context& ctx, const MapRowsArgs& a, FeatureMap y) {
  constexpr const char* op = "map_rows";
  check_map(op, "x", a.x);
  check_map(op, "y", y);
  UVIC_CHECK(a.x.B == 1 && y.B == 1, op, ": x has ", a.x.B, " images, y ", y.B, ", wanted one");
  UVIC_CHECK(a.up > 0 && y.w == a.up * a.x.w && y.channels == a.x.channels && y.format() == a.x.format(), op, ": y is ",
             Shape{y.h, y.w, y.channels}, ", wanted ", a.up, " times the pixels of x, ",
             Shape{a.x.h, a.x.w, a.x.channels}, ", in its format");
  UVIC_CHECK(y.data.raw() != a.x.data.raw(), op, ": y lies in the map of x");
  const int64_t C = a.x.channels;
  check_optional(op, "coefficients", a.coefficients, DType::f32, {1, 2, C});
  UVIC_CHECK(!a.coefficients || C % 16 == 0, op, ": ", C, " channels, wanted a multiple of 16");
  on_cpu(ctx) ? cpu::map_rows(ctx, a, y) : cuda::map_rows(ctx, a, y);
}

}  // namespace uvic
