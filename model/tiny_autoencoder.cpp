#include "model/tiny_autoencoder.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/ops/transfer.h"
#include "model/tiny_layers.h"

namespace uvic {
namespace {

namespace fs = std::filesystem;
using namespace autoencoder;

constexpr float kLatentRange = 3, kLogVar = -30;

// What stands before the numbers of a half's layers, if the file has that half.
std::optional<std::string> prefix_of(const Weights& weights, bool decoder) {
  const std::string half = decoder ? "decoder." : "encoder.";
  for (const std::string& prefix : {half + "layers.", half, "taesd_" + half, std::string()}) {
    const bool from_0 = bool(weights.find(prefix + "0.weight")), from_1 = bool(weights.find(prefix + "1.weight"));
    if (!from_0 && !from_1) continue;
    // Without a name before it, only an encoder begins at 0: a decoder's layer 0 clamps.
    if (!prefix.empty() || from_1 == decoder) return prefix;
  }
  return std::nullopt;
}

// taef2_decoder.pth -> taef2_encoder.pth
fs::path other_half(const fs::path& path) {
  const std::string name = path.filename().string();
  for (const auto& [this_one, other] : {std::pair("encoder", "decoder"), {"decoder", "encoder"}})
    if (const size_t at = name.rfind(this_one); at != std::string::npos)
      return path.parent_path() / (name.substr(0, at) + other + name.substr(at + std::string(this_one).size()));
  return {};
}

// out = f(x), element by element: on the host, as there is little of it beside the network's work.
template <class F>
void transform(Context& ctx, Tensor x, Tensor out, const F& f) {
  const OwnedTensor from = on_host(ctx, x), to = host_for(ctx, out);
  const float* values = from.tensor.data<float>();
  std::transform(values, values + x.numel(), to.tensor.data<float>(), f);
  upload(ctx, to.tensor, out);
}

class TinyAutoencoder final : public Autoencoder {
 public:
  TinyAutoencoder(Weights weights, const Options& options) : Autoencoder(weights.path, options) {
    for (const bool decoder : {false, true}) {
      if (const auto prefix = prefix_of(weights, decoder)) half(decoder) = {weights, *prefix};
    }
    const bool alone = encoder_.exists() != decoder_.exists();
    if (const fs::path other = other_half(weights.path); alone && !other.empty() && fs::exists(other)) {
      const bool decoder = !decoder_.exists();
      const Weights rest = read_weights(other);
      if (const auto prefix = prefix_of(rest, decoder)) half(decoder) = {rest, *prefix};
    }
    UVIC_CHECK(encoder_.exists() || decoder_.exists(), weights.path.string(),
               ": neither the encoder nor the decoder of a tiny autoencoder");
    for (const bool decoder : {false, true}) check(decoder);
  }

  bool is_tiny() const override { return true; }
  int64_t latent_channels() const override { return latent_channels_; }
  int64_t factor() const override { return factor_; }
  bool has_encoder() const override { return encoder_.exists(); }
  bool has_decoder() const override { return decoder_.exists(); }

 private:
  struct Half {
    Weights weights;
    std::string prefix;
    std::unique_ptr<TinyHalf> network = nullptr;
    DType dtype = DType::f32;
    Isa isa = Isa::avx2;
    Device device;
    bool exists() const { return !weights.tensors.empty(); }
  };
  Half& half(bool decoder) { return decoder ? decoder_ : encoder_; }

  void check(bool decoder) {
    if (!half(decoder).exists()) return;
    Source from(half(decoder).weights, half(decoder).prefix);
    const TinyHalf network({from}, decoder);
    const int64_t C = decoder ? network.in_channels() : network.out_channels();
    const int64_t colours = decoder ? network.out_channels() : network.in_channels();
    UVIC_CHECK(colours == 3, from.where(), ": images of ", colours, " channels, wanted 3");
    UVIC_CHECK(latent_channels_ == 0 || (C == latent_channels_ && network.factor() == factor_), from.where(), ": ", C,
               " latent channels at 1/", network.factor(), ", its other half has ", latent_channels_, " at 1/",
               factor_);
    latent_channels_ = C;
    factor_ = network.factor();
  }

  const TinyHalf& prepared(Context& ctx, DType dtype, bool decoder) {
    Half& h = half(decoder);
    if (h.network && h.dtype == dtype && h.isa == ctx.isa() && h.device == ctx.device()) return *h.network;
    Source from(h.weights, h.prefix);
    h.network = std::make_unique<TinyHalf>(Parameters{from, &ctx, dtype}, decoder);
    h.dtype = dtype;
    h.isa = ctx.isa();
    h.device = ctx.device();
    return *h.network;
  }

  // The network works on images in [0, 1].
  void encode_one(Context& ctx, DType dtype, Tensor image, Tensor moments) override {
    const Tensor unit = ctx.like(image);
    transform(ctx, image, unit, [](float x) { return 0.5f * x + 0.5f; });
    const int64_t C = latent_channels_, h = moments.dim(2), w = moments.dim(3);
    const Tensor parts = moments.view({2, C, h, w});
    Work work{ctx, dtype, options().tile};
    prepared(ctx, dtype, false).forward(work, unit, parts.rows(0, 1));
    const Tensor variance = parts.rows(1, 2);
    transform(ctx, variance, variance, [](float) { return kLogVar; });
  }
  void decode_one(Context& ctx, DType dtype, Tensor z, Tensor image) override {
    const Tensor bounded = ctx.like(z);
    transform(ctx, z, bounded, [](float x) { return std::tanh(x / kLatentRange) * kLatentRange; });
    Work work{ctx, dtype, options().tile};
    prepared(ctx, dtype, true).forward(work, bounded, image);
    transform(ctx, image, image, [](float x) { return 2 * x - 1; });
  }

  Half encoder_, decoder_;
  int64_t latent_channels_ = 0, factor_ = 0;
};

}  // namespace

bool is_tiny_autoencoder(const Weights& weights) {
  return std::any_of(weights.tensors.begin(), weights.tensors.end(), [](const auto& t) {
    const size_t at = t.first.rfind(".conv.0.weight");
    return at != std::string::npos && at > 0 && t.first[at - 1] >= '0' && t.first[at - 1] <= '9';
  });
}

std::unique_ptr<Autoencoder> make_tiny_autoencoder(Weights weights, const Autoencoder::Options& options) {
  return std::make_unique<TinyAutoencoder>(std::move(weights), options);
}

}  // namespace uvic
