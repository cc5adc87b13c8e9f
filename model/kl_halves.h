#pragma once

#include <vector>

#include "model/autoencoder_layers.h"

namespace uvic::autoencoder {

// A level of the encoder or decoder of an AutoencoderKL: its blocks, attention behind each of them or none, and the way
// to the next.
struct KlLevel {
  std::vector<ResBlock> blocks;
  std::vector<AttentionBlock> attention;
  std::vector<Conv> resize;  // none or one
  int64_t in = 0, width = 0;

  void forward(Work& work, const FeatureMap& x, FeatureMap y) const;
  // The first block works in place where it can: then x, which the caller fills, is y.
  bool in_place() const { return blocks[0].keeps_channels(); }
};

struct KlMiddle {
  ResBlock block_1, block_2;
  AttentionBlock attention;
  KlMiddle(const Parameters& p, const std::string& name, int64_t C, int64_t groups);
  void forward(Work& work, FeatureMap x) const;
};

// Level 0 is the one of full size, in both halves.
struct KlEncoder {
  KlEncoder(const Parameters& p, int64_t groups);
  void forward(Work& work, Tensor image, Tensor moments) const;  // [1, 3, H, W], [1, 2C, h, w]
  int64_t moments() const { return quant.empty() ? conv_out.M : quant[0].M; }

  Conv conv_in;
  std::vector<KlLevel> levels;
  KlMiddle mid;
  GroupNorm norm_out;
  Conv conv_out;
  std::vector<Conv> quant;  // none or one
};

struct KlDecoder {
  KlDecoder(const Parameters& p, int64_t groups);
  void forward(Work& work, Tensor z, Tensor image) const;  // [1, C, h, w], [1, 3, H, W]
  int64_t latent_channels() const { return post_quant.empty() ? conv_in.C : post_quant[0].C; }

  std::vector<Conv> post_quant;  // none or one
  Conv conv_in;
  KlMiddle mid;
  std::vector<KlLevel> levels;
  GroupNorm norm_out;
  Conv conv_out;

 private:
  void start(Work& work, Tensor z, FeatureMap y) const;
  void level(Work& work, Tensor z, size_t i, FeatureMap y) const;
  int64_t numbers_of(size_t i, int64_t h, int64_t w) const;
};

}  // namespace uvic::autoencoder
