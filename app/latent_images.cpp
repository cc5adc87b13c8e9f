#include "app/latent_images.h"

#include <array>
#include <cstdio>

#include "app/companion_files.h"
#include "kernels/ops/pointwise.h"

namespace uvic {
namespace fs = std::filesystem;
namespace {

// U-ViT's: of its models on ImageNet, and of those on MS-COCO, whose files do not say which.
constexpr double kScaleFactor = 0.18215, kTextScaleFactor = 0.2301;

fs::path find_autoencoder(const ModelInfo& info, const fs::path& model, const fs::path& given) {
  return find_companion({.what = "autoencoder",
                         .option = "--autoencoder",
                         .given = given,
                         .model = model,
                         .recorded = info.autoencoder,
                         .names = {"autoencoder_kl.pth", "autoencoder_kl_ema.pth", "autoencoder.safetensors",
                                   "autoencoder.pth", "vae/", "vae.safetensors", "taesd_decoder.pth",
                                   "taesd_decoder.safetensors", "taef2_decoder.pth", "taef2_decoder.safetensors"}});
}

double scale_of(const ModelInfo& info, const Autoencoder& autoencoder, double given) {
  if (given > 0) return given;
  const double usual = info.config.condition() == Condition::text ? kTextScaleFactor : kScaleFactor;
  return autoencoder.latent_scale(info.scale_factor > 0 ? info.scale_factor
                                                        : autoencoder.recorded_scale_factor().value_or(usual));
}

}  // namespace

bool makes_latents(const ModelInfo& info) {
  return info.config.in_chans != 3 || info.scale_factor > 0 || !info.autoencoder.empty();
}

LatentImages::LatentImages(const ModelInfo& info, const fs::path& model, DType dtype, const LatentOptions& options)
    : autoencoder_(Autoencoder::load(
          find_autoencoder(info, model, options.autoencoder),
          {.dtype = dtype,
           .tile = options.tile,
           .warn = [](const std::string& text) { std::fprintf(stderr, "warning: %s\n", text.c_str()); }})),
      scale_(scale_of(info, *autoencoder_, options.scale_factor)) {
  UVIC_CHECK(autoencoder_->has_decoder(), path().string(), ": holds an encoder alone, and cannot decode");
  UVIC_CHECK(autoencoder_->latent_channels() == info.config.in_chans, path().string(), ": decodes latents of ",
             autoencoder_->latent_channels(), " channels, ", model.string(), " makes ", info.config.in_chans);
}

Tensor LatentImages::decode(Context& ctx, Tensor x) const {
  const int64_t f = factor();
  const Tensor images = ctx.empty(DType::f32, {x.dim(0), 3, f * x.dim(2), f * x.dim(3)});
  const auto scope = ctx.scope("latents");
  const Tensor z = ctx.like(x);
  linear_combination(ctx, std::array<Term, 1>{{{1 / scale_, x}}}, z);
  autoencoder_->decode(ctx, z, images);
  return images;
}

Tensor LatentImages::encode(Context& ctx, Tensor images) const {
  const int64_t B = images.dim(0), C = autoencoder_->latent_channels(), h = images.dim(2) / factor(),
                w = images.dim(3) / factor();
  const Tensor x = ctx.empty(DType::f32, {B, C, h, w});
  const auto scope = ctx.scope("latents");
  const Tensor moments = ctx.empty(DType::f32, {B, 2 * C, h, w});
  autoencoder_->encode(ctx, images, moments);
  for (int64_t b = 0; b < B; ++b) {
    const Tensor mean = moments.rows(b, b + 1).view({2, C, h, w}).rows(0, 1);
    linear_combination(ctx, std::array<Term, 1>{{{scale_, mean}}}, x.rows(b, b + 1));
  }
  return x;
}

}  // namespace uvic
