// Element by element: over the tokens, over images, and over the gradients of all parameters (zero). Memory decides,
// but for random_normal, which computes far more than it writes, and dynamic_threshold, which selects a quantile.

#include "kernels/ops/pointwise.h"

#include <array>

#include "model/uvic.h"
#include "tests/bench/cases.h"

namespace uvic {
namespace {

Shape image_shape(const UViCConfig& c) { return {kBatch, c.in_chans, c.img_size, c.img_size}; }
Shape token_shape(const UViCConfig& c) { return {kBatch, c.tokens(), c.embed_dim}; }

void finish(Job& job, double bytes, const Tensor& labelled, std::function<void()> run) {
  job.bytes = bytes;
  job.label = labelled.shape().str();
  job.run = std::move(run);
}
double bytes_of(const Tensor& t, double times = 1) { return times * static_cast<double>(t.bytes()); }

void cast_job(Context& ctx, const UViCConfig& c, DType dtype, Job& job) {
  const Tensor src = job.random(DType::f32, token_shape(c)), dst = job.zeros(dtype, token_shape(c));
  finish(job, bytes_of(src) + bytes_of(dst), src, [=, &ctx] { cast(ctx, src, dst); });
}

void accumulate_job(Context& ctx, const UViCConfig& c, DType dtype, Job& job) {
  const Tensor src = job.zeros(dtype, token_shape(c)), dst = job.random(dtype, token_shape(c));
  finish(job, bytes_of(src, 3), src, [=, &ctx] { accumulate(ctx, src, dst); });
}

void zero_job(Context& ctx, const UViCConfig& c, DType, Job& job) {
  ParamStore store({});
  const UViC net(store, c);
  const Tensor grad = job.zeros(DType::f32, {store.count()});
  finish(job, bytes_of(grad), grad, [=, &ctx] { zero(ctx, grad); });
}

void normal_job(Context& ctx, const UViCConfig& c, DType, Job& job) {
  const Tensor out = job.zeros(DType::f32, {kBatch, image_shape(c).numel() / kBatch});
  std::vector<RandomKey> keys(static_cast<size_t>(kBatch));
  for (size_t i = 0; i < keys.size(); ++i) keys[i] = {i, 0, Stream::initial_noise, 0};
  finish(job, bytes_of(out), out, [=, &ctx] { random_normal(ctx, keys, out); });
}

void combination_job(Context& ctx, const UViCConfig& c, DType, Job& job) {
  const Tensor x = job.random(DType::f32, image_shape(c)), y = job.random(DType::f32, image_shape(c));
  const Tensor out = job.zeros(DType::f32, image_shape(c));
  finish(job, bytes_of(x, 3), x, [=, &ctx] {
    linear_combination(ctx, std::array<Term, 2>{{{0.6, x}, {0.8, y}}}, out);
  });
}

void clamp_job(Context& ctx, const UViCConfig& c, DType, Job& job) {
  const Tensor x = job.random(DType::f32, image_shape(c), 2);
  finish(job, bytes_of(x, 2), x, [=, &ctx] { clamp(ctx, -1, 1, x); });
}

void threshold_job(Context& ctx, const UViCConfig& c, DType, Job& job) {
  const Tensor x = job.random(DType::f32, image_shape(c), 2);
  finish(job, bytes_of(x, 2), x, [=, &ctx] { dynamic_threshold(ctx, 0.995, 1, 1, x); });
}

void deviation_job(Context& ctx, const UViCConfig& c, DType, Job& job) {
  const Tensor x = job.random(DType::f32, image_shape(c)), reference = job.random(DType::f32, image_shape(c));
  finish(job, bytes_of(x, 3), x, [=, &ctx] { match_deviation(ctx, reference, 0.7, x); });
}

void blend_job(Context& ctx, const UViCConfig& c, DType, Job& job) {
  const Tensor x = job.random(DType::f32, image_shape(c)), a = job.random(DType::f32, image_shape(c));
  const Tensor mask = job.zeros(DType::f32, image_shape(c));
  finish(job, bytes_of(x, 4), x, [=, &ctx] { blend(ctx, mask, a, x); });
}

void noising_job(Context& ctx, const UViCConfig& c, DType, Job& job) {
  const Tensor x0 = job.random(DType::f32, image_shape(c)), eps = job.random(DType::f32, image_shape(c));
  const Tensor alpha = job.random(DType::f32, {kBatch}), sigma = job.random(DType::f32, {kBatch});
  const Tensor x_t = job.zeros(DType::f32, image_shape(c));
  finish(job, bytes_of(x0, 3), x0, [=, &ctx] { noising(ctx, x0, eps, alpha, sigma, x_t); });
}

void mse_job(Context& ctx, const UViCConfig& c, DType, Job& job) {
  const Tensor pred = job.random(DType::f32, image_shape(c)), target = job.random(DType::f32, image_shape(c));
  const Tensor loss = job.zeros(DType::f32, {kBatch}), dpred = job.zeros(DType::f32, image_shape(c));
  finish(job, bytes_of(pred, 3), pred, [=, &ctx] { mse(ctx, pred, target, {}, loss, dpred); });
}

void from_pixels_job(Context& ctx, const UViCConfig& c, DType, Job& job) {
  const Tensor pixels = job.zeros(DType::u8, {kBatch, c.img_size, c.img_size, c.in_chans});
  const Tensor image = job.zeros(DType::f32, image_shape(c));
  finish(job, bytes_of(pixels) + bytes_of(image), image, [=, &ctx] { pixels_to_image(ctx, pixels, image); });
}

void to_pixels_job(Context& ctx, const UViCConfig& c, DType, Job& job) {
  const Tensor pixels = job.zeros(DType::u8, {kBatch, c.img_size, c.img_size, c.in_chans});
  const Tensor image = job.random(DType::f32, image_shape(c));
  finish(job, bytes_of(pixels) + bytes_of(image), image, [=, &ctx] { image_to_pixels(ctx, image, pixels); });
}

const bool registered = [] {
  const auto add = [](const char* op, const std::vector<DType>& dtypes, const MakeJob& make) {
    register_cases(op, networks(), dtypes, best_isa_only(), make);
  };
  add("cast/from_f32", working_dtypes(), cast_job);
  add("accumulate", working_dtypes(), accumulate_job);
  add("zero", f32_only(), zero_job);
  add("random_normal", f32_only(), normal_job);
  add("linear_combination", f32_only(), combination_job);
  add("clamp", f32_only(), clamp_job);
  add("dynamic_threshold", f32_only(), threshold_job);
  add("match_deviation", f32_only(), deviation_job);
  add("blend", f32_only(), blend_job);
  add("noising", f32_only(), noising_job);
  add("mse", f32_only(), mse_job);
  add("pixels_to_image", f32_only(), from_pixels_job);
  add("image_to_pixels", f32_only(), to_pixels_job);
  return true;
}();

}  // namespace
}  // namespace uvic
