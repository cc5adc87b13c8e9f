#include "kernels/ops/pointwise.h"

#include "kernels/ops/check.h"

namespace uvic {
namespace cpu {
void cast(Context& ctx, Tensor src, Tensor dst);
void accumulate(Context& ctx, Tensor src, Tensor dst);
void zero(Context& ctx, Tensor dst);
void random_normal(Context& ctx, std::span<const RandomKey> keys, Tensor out);
void linear_combination(Context& ctx, std::span<const Term> terms, Tensor out);
void clamp(Context& ctx, double lo, double hi, Tensor x);
void dynamic_threshold(Context& ctx, double ratio, double floor, double scale, Tensor x);
void match_deviation(Context& ctx, Tensor reference, double share, Tensor x);
void blend(Context& ctx, Tensor mask, Tensor a, Tensor x);
void noising(Context& ctx, Tensor x0, Tensor eps, Tensor alpha, Tensor sigma, Tensor x_t);
void sample_posterior(Context& ctx, Tensor moments, Tensor noise, double scale, Tensor z);
void mse(Context& ctx, Tensor pred, Tensor target, Tensor weight, Tensor loss, Tensor dpred);
void pixels_to_image(Context& ctx, Tensor pixels, Tensor image);
void image_to_pixels(Context& ctx, Tensor image, Tensor pixels);
}  // namespace cpu
namespace cuda {
void cast(Context& ctx, Tensor src, Tensor dst);
void accumulate(Context& ctx, Tensor src, Tensor dst);
void zero(Context& ctx, Tensor dst);
void random_normal(Context& ctx, std::span<const RandomKey> keys, Tensor out);
void linear_combination(Context& ctx, std::span<const Term> terms, Tensor out);
void clamp(Context& ctx, double lo, double hi, Tensor x);
void dynamic_threshold(Context& ctx, double ratio, double floor, double scale, Tensor x);
void match_deviation(Context& ctx, Tensor reference, double share, Tensor x);
void blend(Context& ctx, Tensor mask, Tensor a, Tensor x);
void noising(Context& ctx, Tensor x0, Tensor eps, Tensor alpha, Tensor sigma, Tensor x_t);
void sample_posterior(Context& ctx, Tensor moments, Tensor noise, double scale, Tensor z);
void mse(Context& ctx, Tensor pred, Tensor target, Tensor weight, Tensor loss, Tensor dpred);
void pixels_to_image(Context& ctx, Tensor pixels, Tensor image);
void image_to_pixels(Context& ctx, Tensor image, Tensor pixels);
}  // namespace cuda

namespace {

void check_floats(const char* op, const char* name, const Tensor& t, std::initializer_list<DType> allowed) {
  UVIC_CHECK(!t.empty(), op, ": ", name, " is empty");
  check_dtype(op, name, t, allowed);
}

// image [B, C, h, w] f32 against pixels [B, h, w, C] u8.
void check_pixels(const char* op, const Tensor& image, const Tensor& pixels) {
  check_rank(op, "image", image, 4);
  check_dtype(op, "image", image, {DType::f32});
  check(op, "pixels", pixels, DType::u8, {image.dim(0), image.dim(2), image.dim(3), image.dim(1)});
}

}  // namespace

void cast(Context& ctx, Tensor src, Tensor dst) {
  constexpr const char* op = "cast";
  check_floats(op, "src", src, {DType::f32, DType::bf16, DType::f64});
  check_dtype(op, "dst", dst, {DType::f32, DType::bf16, DType::f64});
  check(op, "dst", dst, dst.dtype(), src.shape());
  UVIC_CHECK(src.dtype() == dst.dtype() || src.raw() != dst.raw(), op, ": dst aliases src");
  on_cpu(ctx) ? cpu::cast(ctx, src, dst) : cuda::cast(ctx, src, dst);
}

void accumulate(Context& ctx, Tensor src, Tensor dst) {
  constexpr const char* op = "accumulate";
  check_floats(op, "src", src, {DType::f32, DType::bf16});
  check_dtype(op, "dst", dst, {DType::f32, DType::bf16});
  check(op, "dst", dst, dst.dtype(), src.shape());
  on_cpu(ctx) ? cpu::accumulate(ctx, src, dst) : cuda::accumulate(ctx, src, dst);
}

void zero(Context& ctx, Tensor dst) {
  UVIC_CHECK(!dst.empty(), "zero: dst is empty");
  on_cpu(ctx) ? cpu::zero(ctx, dst) : cuda::zero(ctx, dst);
}

void random_normal(Context& ctx, std::span<const RandomKey> keys, Tensor out) {
  constexpr const char* op = "random_normal";
  check_rank(op, "out", out, 2);
  check_dtype(op, "out", out, {DType::f32, DType::f64});
  UVIC_CHECK(static_cast<int64_t>(keys.size()) == out.dim(0), op, ": ", keys.size(), " keys for out ", out.shape());
  on_cpu(ctx) ? cpu::random_normal(ctx, keys, out) : cuda::random_normal(ctx, keys, out);
}

void linear_combination(Context& ctx, std::span<const Term> terms, Tensor out) {
  constexpr const char* op = "linear_combination";
  check_floats(op, "out", out, {DType::f32, DType::f64});
  UVIC_CHECK(!terms.empty(), op, ": no terms");
  for (const Term& term : terms) check(op, "x", term.x, out.dtype(), out.shape());
  on_cpu(ctx) ? cpu::linear_combination(ctx, terms, out) : cuda::linear_combination(ctx, terms, out);
}

void clamp(Context& ctx, double lo, double hi, Tensor x) {
  constexpr const char* op = "clamp";
  check_floats(op, "x", x, {DType::f32, DType::f64});
  UVIC_CHECK(lo <= hi, op, ": lo ", lo, " is above hi ", hi);
  on_cpu(ctx) ? cpu::clamp(ctx, lo, hi, x) : cuda::clamp(ctx, lo, hi, x);
}

void dynamic_threshold(Context& ctx, double ratio, double floor, double scale, Tensor x) {
  constexpr const char* op = "dynamic_threshold";
  check_floats(op, "x", x, {DType::f32, DType::f64});
  UVIC_CHECK(0 <= ratio && ratio <= 1, op, ": ratio must be in [0, 1], got ", ratio);
  UVIC_CHECK(floor > 0, op, ": floor must be above 0, got ", floor);
  if (x.numel() == 0) return;
  on_cpu(ctx) ? cpu::dynamic_threshold(ctx, ratio, floor, scale, x)
              : cuda::dynamic_threshold(ctx, ratio, floor, scale, x);
}

void match_deviation(Context& ctx, Tensor reference, double share, Tensor x) {
  constexpr const char* op = "match_deviation";
  check_floats(op, "x", x, {DType::f32, DType::f64});
  UVIC_CHECK(x.rank() >= 1, op, ": x is a scalar, wanted [B, ...]");
  check(op, "reference", reference, x.dtype(), x.shape());
  UVIC_CHECK(0 <= share && share <= 1, op, ": share must be in [0, 1], got ", share);
  on_cpu(ctx) ? cpu::match_deviation(ctx, reference, share, x) : cuda::match_deviation(ctx, reference, share, x);
}

void blend(Context& ctx, Tensor mask, Tensor a, Tensor x) {
  constexpr const char* op = "blend";
  check_floats(op, "x", x, {DType::f32, DType::f64});
  check(op, "mask", mask, x.dtype(), x.shape());
  check(op, "a", a, x.dtype(), x.shape());
  on_cpu(ctx) ? cpu::blend(ctx, mask, a, x) : cuda::blend(ctx, mask, a, x);
}

void noising(Context& ctx, Tensor x0, Tensor eps, Tensor alpha, Tensor sigma, Tensor x_t) {
  constexpr const char* op = "noising";
  check_floats(op, "x0", x0, {DType::f32});
  UVIC_CHECK(x0.rank() >= 1, op, ": x0 is a scalar, wanted [B, ...]");
  check(op, "eps", eps, DType::f32, x0.shape());
  check(op, "alpha", alpha, DType::f32, {x0.dim(0)});
  check(op, "sigma", sigma, DType::f32, {x0.dim(0)});
  check(op, "x_t", x_t, DType::f32, x0.shape());
  on_cpu(ctx) ? cpu::noising(ctx, x0, eps, alpha, sigma, x_t) : cuda::noising(ctx, x0, eps, alpha, sigma, x_t);
}

void sample_posterior(Context& ctx, Tensor moments, Tensor noise, double scale, Tensor z) {
  constexpr const char* op = "sample_posterior";
  check_rank(op, "z", z, 4);
  check(op, "z", z, DType::f32, z.shape());
  check(op, "noise", noise, DType::f32, z.shape());
  check(op, "moments", moments, DType::f32, {z.dim(0), 2 * z.dim(1), z.dim(2), z.dim(3)});
  on_cpu(ctx) ? cpu::sample_posterior(ctx, moments, noise, scale, z)
              : cuda::sample_posterior(ctx, moments, noise, scale, z);
}

void mse(Context& ctx, Tensor pred, Tensor target, Tensor weight, Tensor loss, Tensor dpred) {
  constexpr const char* op = "mse";
  check_floats(op, "pred", pred, {DType::f32});
  UVIC_CHECK(pred.rank() >= 1 && pred.numel() > 0, op, ": pred is ", pred.shape(), ", wanted [B, ...], not empty");
  check(op, "target", target, DType::f32, pred.shape());
  check_optional(op, "weight", weight, DType::f32, {pred.dim(0)});
  check(op, "loss", loss, DType::f32, {pred.dim(0)});
  check_optional(op, "dpred", dpred, DType::f32, pred.shape());
  on_cpu(ctx) ? cpu::mse(ctx, pred, target, weight, loss, dpred) : cuda::mse(ctx, pred, target, weight, loss, dpred);
}

void pixels_to_image(Context& ctx, Tensor pixels, Tensor image) {
  check_pixels("pixels_to_image", image, pixels);
  on_cpu(ctx) ? cpu::pixels_to_image(ctx, pixels, image) : cuda::pixels_to_image(ctx, pixels, image);
}

void image_to_pixels(Context& ctx, Tensor image, Tensor pixels) {
  check_pixels("image_to_pixels", image, pixels);
  on_cpu(ctx) ? cpu::image_to_pixels(ctx, image, pixels) : cuda::image_to_pixels(ctx, image, pixels);
}

}  // namespace uvic
