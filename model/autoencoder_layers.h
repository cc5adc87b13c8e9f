#pragma once

#include <string>
#include <vector>

#include "kernels/ops/map_conv.h"
#include "kernels/ops/map_norm.h"
#include "model/autoencoder_source.h"

namespace uvic::autoencoder {

// Where layers run, and how: one image at a time, in strips of rows.
struct Work {
  Context& ctx;
  DType dtype;       // of the maps, as in MapSize
  int64_t tile = 0;  // rows of a strip; 0: as many as stay in cache

  FeatureMap map(int64_t h, int64_t w, int64_t channels, int64_t gap = 0) const {
    return make_feature_map(ctx, {1, h, w, channels, gap, gap, dtype});
  }
};

// What a convolution prepares of its input at a time.
int64_t strip_bytes(const Context& ctx);

// Where layers take their parameters from. Without a Context they only check them: names and shapes, at no cost.
struct Parameters {
  Source& from;
  Context* ctx = nullptr;
  DType dtype = DType::f32;
};

struct GroupNorm {
  OwnedTensor w, b;
  int64_t groups = 32;
  double eps = 1e-6;
  GroupNorm(const Parameters& p, const std::string& name, int64_t C, int64_t group_count = 32, double epsilon = 1e-6);
  Tensor coefficients(Work& work, const FeatureMap& x) const;
};

// What happens to a convolution's input as it is read: normalised, activated, magnified.
struct Before {
  const GroupNorm* norm = nullptr;
  MapActivation act = MapActivation::none;
  int64_t up = 1;
};

// A convolution of k x k pixels, k odd. At stride 1 the size stays.
struct Conv {
  PackedConv w;
  int64_t M = 0, C = 0, k = 1;
  struct Size {
    int64_t C, M, k;
    bool bias = true;
    bool unfolded = false;  // x holds the windows already, see unfold
  };
  Conv(const Parameters& p, const std::string& name, const Size& size);

  struct After {
    bool relu = false, add = false;  // see ConvBranch
  };
  void forward(Work& work, const FeatureMap& x, const Before& before, FeatureMap y, const After& after) const;
  void forward(Work& work, const FeatureMap& x, const Before& before, FeatureMap y) const {
    forward(work, x, before, y, After{});
  }
  // At stride 2, padded by `pad` above and left.
  void halve(Work& work, const FeatureMap& x, int64_t pad, FeatureMap y) const;
};

// conv2(silu(norm2(conv1(silu(norm1(x)))))) + shortcut(x)
class ResBlock {
 public:
  ResBlock(const Parameters& p, const std::string& name, int64_t C, int64_t M, int64_t groups);
  bool keeps_channels() const { return shortcut_.empty(); }
  // y is x itself where channels stay, else another map.
  void forward(Work& work, const FeatureMap& x, FeatureMap y) const;

 private:
  GroupNorm norm1_, norm2_;
  Conv conv1_, conv2_;
  std::vector<Conv> shortcut_;  // none or one
};

// x += proj(attention(norm(x))), one head over all pixels.
class AttentionBlock {
 public:
  AttentionBlock(const Parameters& p, const std::string& name, int64_t C, int64_t groups);
  void forward(Work& work, FeatureMap x) const;

 private:
  GroupNorm norm_;
  Conv q_, k_, v_, proj_;
};

}  // namespace uvic::autoencoder
