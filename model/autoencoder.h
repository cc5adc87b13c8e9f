#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "kernels/core/context.h"

namespace uvic {

// Images to latents and back, frozen. Two families:
//   KL    Stable Diffusion's AutoencoderKL (KL-f8 and others of its layout): a posterior mean and variance a latent
//   tiny  TAESD and its relatives: small and fast, no variance
// Memory beside the weights is that of one image, however many are in a batch: each passes through alone, and so does
// not depend on the others. Within an image the work goes by strips of rows, of which the maps of full size are the
// residual stream and one more; group norms and attention always see the whole image, so strips change no result.
class Autoencoder {
 public:
  struct Options {
    // bf16 takes half the memory, and less than half the time, where the processor has AMX; elsewhere it is f32.
    DType dtype = DType::f32;
    int64_t tile = 0;  // rows of a map that pass at a time; 0: as many as stay in cache
    // Told, once, that bf16 gave a number that is not finite, and that f32 has taken over from there on.
    std::function<void(const std::string&)> warn = {};
  };

  // path: a file (.pth, .safetensors), or a folder of diffusers (config.json and diffusion_pytorch_model.safetensors,
  // or vae/ with them). The names are those of LDM (autoencoder_kl.pth, with or without first_stage_model.), of
  // diffusers with either names of attention, of taesd and of AutoencoderTiny. A tiny file of an encoder or a decoder
  // alone is joined by its other half, <...>encoder<...> beside <...>decoder<...>, if there is one. Sizes follow from
  // the shapes. Throws Error naming the file and the first tensor that is missing, has another shape or belongs to no
  // network.
  static std::unique_ptr<Autoencoder> load(const std::filesystem::path& path, const Options& options);
  static std::unique_ptr<Autoencoder> load(const std::filesystem::path& path) { return load(path, Options{}); }

  virtual ~Autoencoder();
  Autoencoder(const Autoencoder&) = delete;
  Autoencoder& operator=(const Autoencoder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  virtual bool is_tiny() const = 0;
  virtual int64_t latent_channels() const = 0;  // C
  virtual int64_t factor() const = 0;           // pixels a latent, each way: 8
  virtual bool has_encoder() const = 0;
  virtual bool has_decoder() const = 0;
  // What diffusers' config.json says of it; none where there is no such file.
  std::optional<double> recorded_scale_factor() const { return recorded_scale_factor_; }
  // A diffusion model's latent is z times this: what a sample is divided by before decode, and what a draw from the
  // moments is multiplied by. scale_factor (0.18215, ...) for KL; 1 for a tiny one, whose z is of unit scale already.
  double latent_scale(double scale_factor) const { return is_tiny() ? 1 : scale_factor; }

  // images [B, 3, H, W] f32 in [-1, 1], H and W multiples of factor(). Overwrites moments [B, 2C, H/8, W/8] f32: mean,
  // then log variance in -30 .. 20; a tiny autoencoder's are z, then -30. The first call prepares the encoder's
  // weights for ctx, and reads the file again if decode has been called before.
  void encode(Context& ctx, Tensor images, Tensor moments);
  // z [B, C, h, w] f32, divided by the scale factor. Overwrites images [B, 3, 8h, 8w] f32, about [-1, 1], not clamped.
  void decode(Context& ctx, Tensor z, Tensor images);

 protected:
  Autoencoder(std::filesystem::path path, const Options& options) : path_(std::move(path)), options_(options) {}
  const Options& options() const { return options_; }
  std::optional<double> recorded_scale_factor_;

 private:
  // One image, in dtype. image [1, 3, H, W], moments [1, 2C, h, w], z [1, C, h, w].
  virtual void encode_one(Context& ctx, DType dtype, Tensor image, Tensor moments) = 0;
  virtual void decode_one(Context& ctx, DType dtype, Tensor z, Tensor image) = 0;
  template <class F>
  void in_dtype(Context& ctx, const char* what, Tensor from, Tensor to, const F& run);

  std::filesystem::path path_;
  Options options_;
};

}  // namespace uvic
