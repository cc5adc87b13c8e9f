#include "app/sample_start.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "app/image_io.h"
#include "app/resize.h"
#include "kernels/ops/pointwise.h"
#include "kernels/ops/transfer.h"
#include "model/io/convert.h"
#include "model/io/safetensors.h"

namespace uvic {
namespace {

// The square middle of an image at the model's size, as [1, 3, h, w] in [-1, 1].
OwnedTensor as_input(const Image& image, int size) {
  Context ctx({.threads = 1});
  Image square = image.height == size && image.width == size ? image : center_crop_arr(image, size);
  OwnedTensor out({}, DType::f32, {1, 3, size, size});
  pixels_to_image(ctx, square.tensor().view({1, size, size, 3}), out.tensor);
  return out;
}

OwnedTensor as_latent(Tensor image, const LatentImages& latents, int threads) {
  Context ctx({.threads = threads});
  const Tensor x = latents.encode(ctx, image);
  OwnedTensor out({}, DType::f32, x.shape());
  cast(ctx, x, out.tensor);
  return out;
}

// A mask [1, 3, h f, w f] as [1, C, h, w]: the mean over the pixels of each latent.
OwnedTensor shrunk(Tensor mask, int64_t C, int64_t f) {
  const int64_t h = mask.dim(2) / f, w = mask.dim(3) / f;
  OwnedTensor out({}, DType::f32, {1, C, h, w});
  for (int64_t i = 0; i < out.tensor.numel(); ++i) {
    const int64_t row = i / w % h * f, column = i % w * f;
    float sum = 0;
    for (int64_t p = 0; p < f * f; ++p) sum += mask.data<float>()[(row + p / f) * w * f + column + p % f];
    out.tensor.data<float>()[i] = sum / static_cast<float>(f * f);
  }
  return out;
}

}  // namespace

SampleStart::SampleStart(const SampleRequest& r, const Shape& all, const LatentImages* latents) : request_(r) {
  const std::string noise = r.init_noise.string(), image = r.init_image.string(), mask = r.mask.string();
  if (!noise.empty()) {
    UVIC_CHECK(r.interpolate == 0, "--interpolate makes its own noise: it does not go with --init-noise");
    const SafetensorsFile file(r.init_noise);
    UVIC_CHECK(file.names().size() == 1, noise, ": holds ", file.names().size(), " tensors; one, x_T, is needed");
    const Tensor x = file.tensor(file.names()[0]);
    UVIC_CHECK(x.shape() == all, noise, ": x_T is ", x.shape(), ", ", all, " is needed");
    noise_ = OwnedTensor({}, DType::f32, all);
    convert(x, noise_.tensor);
  }
  UVIC_CHECK(!image.empty() || mask.empty(), "--mask says what to paint anew of --init-image, which is missing");
  UVIC_CHECK(!image.empty() || r.strength == 0, "--strength says how much to change --init-image, which is missing");
  if (image.empty()) return;
  UVIC_CHECK(0 <= r.strength && r.strength <= 1, "--strength must be above 0, and at most 1, got ", r.strength);
  const int size = static_cast<int>(all[2] * (latents ? latents->factor() : 1));
  const Image start = read_image(r.init_image, Orientation::upright);
  init_ = as_input(start, size);
  if (latents) init_ = as_latent(init_.tensor, *latents, r.threads);
  if (mask.empty()) return;
  const Image painted = read_image(r.mask, Orientation::upright);
  UVIC_CHECK(painted.height == start.height && painted.width == start.width, mask, ": is ", painted.width, " x ",
             painted.height, " pixels, ", image, " is ", start.width, " x ", start.height, "; they must agree");
  keep_ = as_input(painted, size);
  for (float& v : std::span(keep_.tensor.data<float>(), static_cast<size_t>(keep_.tensor.numel())))
    v = 0.5f - v / 2;  // white is painted
  if (latents) keep_ = shrunk(keep_.tensor, all[1], latents->factor());
}

bool SampleStart::noise(Context& ctx, std::span<const size_t> images, Tensor x) const {
  if (noise_.tensor) {
    for (size_t i = 0; i < images.size(); ++i) {
      const int64_t from = static_cast<int64_t>(images[i]), to = static_cast<int64_t>(i);
      cast(ctx, noise_.tensor.rows(from, from + 1), x.rows(to, to + 1));
    }
    return true;
  }
  if (request_.interpolate == 0) return false;
  // Along the great circle between them: the norm of noise is all but fixed, and a straight line would leave it.
  const Shape one{1, x.dim(1), x.dim(2), x.dim(3)};
  const Tensor a = ctx.empty(DType::f32, one), b = ctx.empty(DType::f32, one);
  initial_noise(ctx, std::array{request_.seeds.front()}, a);
  initial_noise(ctx, std::array{request_.to_seed.value_or(request_.seeds.front())}, b);
  double dot = 0, norm_a = 0, norm_b = 0;
  const OwnedTensor read_a = on_host(ctx, a), read_b = on_host(ctx, b);
  for (int64_t i = 0; i < a.numel(); ++i) {
    const double u = read_a.tensor.data<float>()[i], v = read_b.tensor.data<float>()[i];
    dot += u * v, norm_a += u * u, norm_b += v * v;
  }
  const double angle = std::acos(std::clamp(dot / std::sqrt(norm_a * norm_b), -1.0, 1.0));
  for (size_t i = 0; i < images.size(); ++i) {
    const double share = request_.share_of(images[i]);
    const double of_a = angle > 0 ? std::sin((1 - share) * angle) / std::sin(angle) : 1;
    const double of_b = angle > 0 ? std::sin(share * angle) / std::sin(angle) : 0;
    const int64_t row = static_cast<int64_t>(i);
    linear_combination(ctx, std::array<Term, 2>{{{of_a, a}, {of_b, b}}}, x.rows(row, row + 1));
  }
  return true;
}

Tensor SampleStart::repeated(Context& ctx, Tensor one, int64_t batch) {
  if (one.empty()) return {};
  const Tensor out = ctx.empty(DType::f32, {batch, one.dim(1), one.dim(2), one.dim(3)});
  for (int64_t i = 0; i < batch; ++i) cast(ctx, one, out.rows(i, i + 1));
  return out;
}

}  // namespace uvic
