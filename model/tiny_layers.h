#pragma once

#include <optional>
#include <vector>

#include "model/autoencoder_layers.h"

namespace uvic::autoencoder {

// relu(conv(relu(conv(relu(conv(x))))) + x), where it is pooled after x += conv(relu(norm(conv(x)))).
class TinyBlock {
 public:
  TinyBlock(const Parameters& p, const std::string& name);
  int64_t channels() const { return first_.C; }
  void forward(Work& work, FeatureMap x) const;  // in place; gaps of at least one pixel

 private:
  struct Pool {
    Conv in;
    GroupNorm norm;
    Conv out;
  };
  static Conv conv(const Parameters& p, const std::string& name, int index);

  Conv first_, second_, third_;
  std::vector<Pool> pool_;  // none or one
};

// A step of a half: a convolution, which may halve the image, or magnify it before; or a block.
struct TinyStep {
  std::optional<Conv> conv;
  bool halves = false, relu = false;
  int64_t up = 1;
  std::optional<TinyBlock> block;
};

// Layers as the file numbers them. Between its ends an encoder's convolutions halve and a decoder's magnify.
class TinyHalf {
 public:
  TinyHalf(const Parameters& p, bool decoder);
  int64_t in_channels() const { return steps_.front().conv->C; }
  int64_t out_channels() const { return steps_.back().conv->M; }
  int64_t factor() const { return factor_; }
  void forward(Work& work, Tensor x, Tensor y) const;  // [1, C, H, W] f32

 private:
  std::vector<TinyStep> steps_;
  int64_t factor_ = 1;
};

}  // namespace uvic::autoencoder
