#include "model/kl_autoencoder.h"

#include <utility>

#include "model/kl_halves.h"

namespace uvic {
namespace {

using namespace autoencoder;

class KlAutoencoder final : public Autoencoder {
 public:
  KlAutoencoder(Weights weights, const Options& options, int64_t groups, std::optional<double> scale_factor)
      : Autoencoder(weights.path, options), weights_(std::move(weights)), groups_(groups) {
    recorded_scale_factor_ = scale_factor;
    Source from(weights_);
    has_encoder_ = from.has("encoder.conv_in.weight");
    has_decoder_ = from.has("decoder.conv_in.weight");
    UVIC_CHECK(has_encoder_ || has_decoder_, from.where(), ": neither the encoder nor the decoder of an autoencoder");
    if (has_encoder_) {
      const KlEncoder encoder({from}, groups_);
      UVIC_CHECK(encoder.moments() % 2 == 0, from.where(), ": the encoder gives ", encoder.moments(),
                 " numbers a latent, wanted means and as many variances");
      latent_channels_ = encoder.moments() / 2;
      factor_ = int64_t{1} << (encoder.levels.size() - 1);
    }
    if (has_decoder_) {
      const KlDecoder decoder({from}, groups_);
      const int64_t C = decoder.latent_channels();
      const int64_t factor = int64_t{1} << (decoder.levels.size() - 1);
      UVIC_CHECK(!has_encoder_ || (C == latent_channels_ && factor == factor_), from.where(), ": the encoder has ",
                 latent_channels_, " channels at 1/", factor_, ", the decoder ", C, " at 1/", factor);
      latent_channels_ = C;
      factor_ = factor;
    }
  }

  bool is_tiny() const override { return false; }
  int64_t latent_channels() const override { return latent_channels_; }
  int64_t factor() const override { return factor_; }
  bool has_encoder() const override { return has_encoder_; }
  bool has_decoder() const override { return has_decoder_; }

 private:
  void encode_one(Context& ctx, DType dtype, Tensor image, Tensor moments) override {
    prepare(ctx, dtype, encoder_);
    Work work{ctx, dtype, options().tile};
    encoder_.half->forward(work, image, moments);
  }
  void decode_one(Context& ctx, DType dtype, Tensor z, Tensor image) override {
    prepare(ctx, dtype, decoder_);
    Work work{ctx, dtype, options().tile};
    decoder_.half->forward(work, z, image);
  }

  template <class Half>
  struct Ready {
    std::unique_ptr<Half> half;
    DType dtype = DType::f32;
    Isa isa = Isa::avx2;
    Device device;
  };
  // The file is not kept beside what was made of it: its other half may never be asked for, and it is large.
  template <class Half>
  void prepare(Context& ctx, DType dtype, Ready<Half>& ready) {
    if (ready.half && ready.dtype == dtype && ready.isa == ctx.isa() && ready.device == ctx.device()) return;
    ready.half.reset();
    if (weights_.tensors.empty()) weights_ = read_weights(path());
    Source from(weights_);
    ready = {std::make_unique<Half>(Parameters{from, &ctx, dtype}, groups_), dtype, ctx.isa(), ctx.device()};
    weights_ = {.path = path()};
  }

  Weights weights_;
  int64_t groups_, latent_channels_ = 0, factor_ = 0;
  bool has_encoder_ = false, has_decoder_ = false;
  Ready<KlEncoder> encoder_;
  Ready<KlDecoder> decoder_;
};

}  // namespace

std::unique_ptr<Autoencoder> make_kl_autoencoder(Weights weights, const Autoencoder::Options& options, int64_t groups,
                                                 std::optional<double> scale_factor) {
  return std::make_unique<KlAutoencoder>(std::move(weights), options, groups, scale_factor);
}

}  // namespace uvic
