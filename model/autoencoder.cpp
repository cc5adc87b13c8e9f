#include "model/autoencoder.h"

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "kernels/ops/update.h"
#include "model/kl_autoencoder.h"
#include "model/tiny_autoencoder.h"

namespace uvic {
namespace fs = std::filesystem;
namespace {

bool is_finite(Context& ctx, Tensor t) {
  return std::isfinite(squared_norm(ctx, t.view({t.numel()})));  // in double, where squares of floats do not overflow
}

void check_image(const char* what, const char* name, Tensor t, const Shape& wanted) {
  UVIC_CHECK(t && t.dtype() == DType::f32 && t.shape() == wanted, what, ": ", name, " is ", t.dtype(), ' ', t.shape(),
             ", wanted f32 ", wanted);
}

// What stands in diffusers' config.json beside the weights; nothing where there is none.
nlohmann::json read_config(const fs::path& folder) {
  std::ifstream in(folder / "config.json");
  if (!in) return nlohmann::json::object();
  const nlohmann::json config = nlohmann::json::parse(in, nullptr, false);
  UVIC_CHECK(config.is_object(), (folder / "config.json").string(), ": not a JSON object");
  return config;
}

fs::path weights_file(const fs::path& folder) {
  std::string looked;
  for (const fs::path& in : {folder, folder / "vae"})
    for (const char* name : {"diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors",
                             "diffusion_pytorch_model.bin"}) {
      if (fs::exists(in / name)) return in / name;
      looked += (looked.empty() ? "" : ", ") + (in / name).string();
    }
  throw Error(folder.string() + ": no autoencoder in this folder; looked for " + looked);
}

}  // namespace

Autoencoder::~Autoencoder() = default;

std::unique_ptr<Autoencoder> Autoencoder::load(const fs::path& path, const Options& options) {
  UVIC_CHECK(fs::exists(path), path.string(), ": no such autoencoder file or folder");
  UVIC_CHECK(options.tile >= 0, "autoencoder: a tile of ", options.tile, " rows, wanted 0 (by size) or more");
  const bool folder = fs::is_directory(path);
  const fs::path file = folder ? weights_file(path) : path;
  const nlohmann::json config = folder ? read_config(file.parent_path()) : nlohmann::json::object();
  const auto number = [&](const char* key) -> std::optional<double> {
    const auto it = config.find(key);
    if (it == config.end() || it->is_null()) return std::nullopt;
    UVIC_CHECK(it->is_number() && it->get<double>() > 0, (file.parent_path() / "config.json").string(), ": ", key,
               " is ", it->dump(), ", wanted a number above 0");
    return it->get<double>();
  };
  const double groups = number("norm_num_groups").value_or(32);
  UVIC_CHECK(groups >= 1 && groups <= 4096, (file.parent_path() / "config.json").string(), ": norm_num_groups is ",
             groups, ", wanted 1 to 4096");
  Weights weights = read_weights(file);
  if (is_tiny_autoencoder(weights)) return make_tiny_autoencoder(std::move(weights), options);
  return make_kl_autoencoder(std::move(weights), options, std::llround(groups), number("scaling_factor"));
}

// Runs `run` for each image; in bf16, a result that is not finite from an input that is makes it f32 from there on.
template <class F>
void Autoencoder::in_dtype(Context& ctx, const char* what, Tensor from, Tensor to, const F& run) {
  for (int64_t n = 0; n < from.dim(0); ++n) {
    const Tensor in = from.rows(n, n + 1), out = to.rows(n, n + 1);
    run(options_.dtype, in, out);
    if (is_finite(ctx, out) || !is_finite(ctx, in)) continue;
    UVIC_CHECK(options_.dtype != DType::f32, path_.string(), ": ", what, " gave a number that is not finite");
    options_.dtype = DType::f32;
    if (options_.warn)
      options_.warn(concat(path_.string(), ": ", what, " in bf16 gave a number that is not finite; f32 from here on"));
    --n;  // this one again
  }
}

void Autoencoder::encode(Context& ctx, Tensor images, Tensor moments) {
  const auto scope = ctx.scope("encode");
  UVIC_CHECK(has_encoder(), path_.string(), ": holds a decoder alone, and cannot encode");
  UVIC_CHECK(images && images.rank() == 4, "encode: images is ", images.shape(), ", wanted [B, 3, H, W]");
  const int64_t B = images.dim(0), H = images.dim(2), W = images.dim(3), f = factor();
  check_image("encode", "images", images, {B, 3, H, W});
  UVIC_CHECK(H > 0 && W > 0 && H % f == 0 && W % f == 0, "encode: images are ", H, " x ", W, ", wanted multiples of ",
             f);
  check_image("encode", "moments", moments, {B, 2 * latent_channels(), H / f, W / f});
  in_dtype(ctx, "encoding", images, moments,
           [&](DType dtype, Tensor image, Tensor out) { encode_one(ctx, dtype, image, out); });
}

void Autoencoder::decode(Context& ctx, Tensor z, Tensor images) {
  const auto scope = ctx.scope("decode");
  UVIC_CHECK(has_decoder(), path_.string(), ": holds an encoder alone, and cannot decode");
  UVIC_CHECK(z && z.rank() == 4, "decode: z is ", z.shape(), ", wanted [B, ", latent_channels(), ", h, w]");
  const int64_t B = z.dim(0), h = z.dim(2), w = z.dim(3), f = factor();
  check_image("decode", "z", z, {B, latent_channels(), h, w});
  UVIC_CHECK(h > 0 && w > 0, "decode: z is ", z.shape(), ", which has no pixels");
  check_image("decode", "images", images, {B, 3, f * h, f * w});
  in_dtype(ctx, "decoding", z, images, [&](DType dtype, Tensor in, Tensor out) { decode_one(ctx, dtype, in, out); });
}

}  // namespace uvic
