#include <nlohmann/json.hpp>
#include <vector>

#include "app/bench_record.h"
#include "app/inception_input.h"
#include "app/made_up.h"
#include "kernels/ops/transfer.h"
#include "model/autoencoder.h"
#include "model/clip_text.h"
#include "model/inception.h"

namespace uvic {
namespace {

using Record = nlohmann::ordered_json;

void print(Context& ctx, const Record& record) { print_record(ctx, record.dump()); }

void bench_features(Context& ctx, const BenchRequest& r) {
  constexpr double kMultiplications = 5.711e9;  // of the network's convolutions, an image
  const Inception network(ctx, read_weights(r.file));
  Image image{32, 32, std::vector<uint8_t>(32 * 32 * 3)};
  for (size_t i = 0; i < image.rgb.size(); ++i) image.rgb[i] = static_cast<uint8_t>(i * 2654435761u >> 24);
  int calls = 0;
  const double s = timed(ctx, r.seconds, 2, [&] {
    ctx.arena().reset();
    ctx.set_profiling(r.profile && ++calls > 3);
    const Tensor x = ctx.empty(DType::f32, {r.batch, 3, Inception::kSide, Inception::kSide});
    const OwnedTensor host = host_for(ctx, x);
    for (int64_t n = 0; n < r.batch; ++n)
      inception_input(image, Protocol::pytorch, false, host.tensor.rows(n, n + 1).view({3, x.dim(2), x.dim(3)}));
    upload(ctx, host.tensor, x);
    network.forward(ctx, x, {.pool3 = ctx.empty(DType::f32, {r.batch, Inception::kFeatures})});
  });
  print(ctx, {{"what", "features"},
              {"dtype", "f32"},
              {"batch", r.batch},
              {"seconds", s},
              {"images_per_s", r.batch / s},
              {"tflops", 2 * kMultiplications * r.batch / s / 1e12},
              {"arena_gib", static_cast<double>(ctx.arena().peak()) / (1 << 30)}});
  print_profile(ctx);
}

void bench_autoencoder(Context& ctx, const BenchRequest& r, DType dtype) {
  const auto autoencoder = Autoencoder::load(r.file, {.dtype = dtype});
  const int64_t B = r.batch, C = autoencoder->latent_channels(), h = r.size / autoencoder->factor();
  const bool encodes = r.what == "encode";
  int calls = 0;
  const double s = timed(ctx, r.seconds, 2, [&] {
    ctx.arena().reset();
    ctx.set_profiling(r.profile && ++calls > 3);
    const Tensor images = made_up_noise(ctx, DType::f32, {B, 3, r.size, r.size}, 0);
    const Tensor latents = made_up_noise(ctx, DType::f32, {B, encodes ? 2 * C : C, h, h}, 1);
    encodes ? autoencoder->encode(ctx, images, latents) : autoencoder->decode(ctx, latents, images);
  });
  print(ctx, {{"what", r.what},
              {"dtype", name_of(dtype)},
              {"batch", r.batch},
              {"shape", {3, r.size, r.size}},
              {"seconds", s},
              {"images_per_s", r.batch / s},
              {"arena_gib", static_cast<double>(ctx.arena().peak()) / (1 << 30)}});
  print_profile(ctx);
}

void bench_text(Context& ctx, const BenchRequest& r, DType dtype) {
  const auto encoder = TextEncoder::load(ctx, r.file, {.dtype = dtype, .config = {}});
  const int64_t B = r.batch, T = encoder->tokens(), width = encoder->width();
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < B * T; ++i) tokens.push_back(static_cast<int32_t>(i * 7919 % encoder->vocabulary()));
  const Tensor ids(tokens.data(), DType::i32, {B, T});
  int calls = 0;
  const double s = timed(ctx, r.seconds, 2, [&] {
    ctx.arena().reset();
    ctx.set_profiling(r.profile && ++calls > 3);
    const Tensor out = ctx.empty(DType::f32, {B, T, width});
    encoder->encode(ctx, ids, out);
  });
  const auto weights = static_cast<double>(encoder->parameters() - (encoder->vocabulary() + T) * width);
  print(ctx, {{"what", "text"},
              {"dtype", name_of(dtype)},
              {"batch", r.batch},
              {"shape", {T, width}},
              {"seconds", s},
              {"texts_per_s", r.batch / s},
              {"tflops", 2 * weights * static_cast<double>(B * T) / s / 1e12},
              {"arena_gib", static_cast<double>(ctx.arena().peak()) / (1 << 30)}});
  print_profile(ctx);
}

}  // namespace

void bench_frozen(Context& ctx, const BenchRequest& r, DType dtype) {
  if (r.what == "features") return bench_features(ctx, r);
  if (r.what == "text") return bench_text(ctx, r, dtype);
  bench_autoencoder(ctx, r, dtype);
}

}  // namespace uvic
