#pragma once

#include <span>

#include "kernels/core/context.h"
#include "kernels/core/philox.h"

namespace uvic {

// Overwrites dst with src, rounded to dst's dtype (f32, bf16, f64 either way). Same shape. Alone of all ops it also
// takes tensors on the host where ctx runs on a GPU: how weights get there and back. A dst on the host is complete.
void cast(Context& ctx, Tensor src, Tensor dst);
// dst += src. One shape; f32 or bf16 each.
void accumulate(Context& ctx, Tensor src, Tensor dst);
// Sets every byte to zero.
void zero(Context& ctx, Tensor dst);

// Row i of out [R, n] f32 or f64 becomes standard normal numbers of keys[i]; the values are the f32 ones either way.
void random_normal(Context& ctx, std::span<const RandomKey> keys, Tensor out);

// out = sum_i coefficient_i x_i. Tensors share shape and dtype, f32 or f64; sums in f64 and rounded once. out may be
// one of the x_i. What every sampler's update is made of.
struct Term {
  double coefficient;
  Tensor x;
};
void linear_combination(Context& ctx, std::span<const Term> terms, Tensor out);
// x = min(max(x, lo), hi), in place; f32 or f64.
void clamp(Context& ctx, double lo, double hi, Tensor x);

// Dynamic thresholding (Saharia et al., arXiv 2205.11487), in place; x [B, ...] f32 or f64. Per image: q is the
// quantile of |x| at ratio in [0, 1], between two order statistics in proportion, or floor if that is more; x =
// min(max(x, -q), q) scale / q. An image with a NaN becomes NaN throughout.
void dynamic_threshold(Context& ctx, double ratio, double floor, double scale, Tensor x);

// In place, per image: x's standard deviation over its elements goes share of the way to that of reference (factor 1
// where x has none): "CFG rescale" of Lin et al., arXiv 2305.08891, section 3.4. x, reference [B, ...] f32 or f64.
void match_deviation(Context& ctx, Tensor reference, double share, Tensor x);
// x = x + mask (a - x), in place; mask in [0, 1], and where it is 1 exactly a. One shape and dtype, f32 or f64.
void blend(Context& ctx, Tensor mask, Tensor a, Tensor x);

// x_t[b] = alpha[b] x0[b] + sigma[b] eps[b]: the forward process. All [B, ...] f32; alpha, sigma [B] f32.
void noising(Context& ctx, Tensor x0, Tensor eps, Tensor alpha, Tensor sigma, Tensor x_t);
// A latent from an autoencoder's posterior: moments [B, 2C, h, w], mean and then log variance (taken as -30 .. 20);
// z = scale (mean + exp(log variance / 2) noise). noise, z [B, C, h, w]. All f32; overwrites z.
void sample_posterior(Context& ctx, Tensor moments, Tensor noise, double scale, Tensor z);

// Per image b: loss[b] = mean over elements of (pred - target)^2, and dpred = weight[b] / B * d loss[b] / d pred, so
// that the step's loss is the mean over b of weight[b] loss[b]. pred, target, dpred [B, ...] f32; weight [B] f32 or
// empty for 1; loss [B] f32. Overwrites loss and dpred (dpred skipped if empty).
void mse(Context& ctx, Tensor pred, Tensor target, Tensor weight, Tensor loss, Tensor dpred);

// pixels [B, h, w, C] u8 -> image [B, C, h, w] f32 in [-1, 1]: v / 127.5 - 1.
void pixels_to_image(Context& ctx, Tensor pixels, Tensor image);
// image [B, C, h, w] f32 -> pixels [B, h, w, C] u8 as the released sampler saves them: truncate(clamp(0.5 (v + 1), 0,
// 1)
// * 255 + 0.5). NaN becomes 0.
void image_to_pixels(Context& ctx, Tensor image, Tensor pixels);

}  // namespace uvic
