#pragma once

#include <set>
#include <string>
#include <vector>

#include "kernels/ops/map_conv.h"
#include "model/inception.h"

namespace uvic::inception {

// Hands out the tensors of a state dict. Errors name the file and the tensor.
class Source {
 public:
  Source(Context& context, const Weights& weights) : ctx(context), weights_(weights) {}

  bool has(const std::string& name) const { return static_cast<bool>(weights_.find(name)); }
  // As f32, whatever the file has. A first extent of 0 stands for any.
  OwnedTensor take(const std::string& name, Shape shape);
  // Throws if there are tensors that nobody took, other than batch norms' counters and the auxiliary classifier.
  void finish() const;

  Context& ctx;

 private:
  const Weights& weights_;
  std::set<std::string> taken_;
};

// Convolution, batch norm and ReLU; the norm is folded into the filters. At stride 1 it pads so that the size stays,
// unless padded is false; at stride 2 it never pads. unfolded: x holds the windows already, see unfold.
struct Layer {
  std::string name;
  int64_t M, kh = 1, kw = 1, stride = 1;
  bool padded = true, unfolded = false;
};
struct Unit {
  Layer layer;
  PackedConv w;
  OwnedTensor pool_bias;  // where an average pool follows the convolution: the bias comes after it

  Unit(Source& from, const Layer& described, int64_t C, bool pool_follows = false);
  int64_t stride() const { return layer.unfolded ? 1 : layer.stride; }
  int64_t pad_h() const { return layer.padded && stride() == 1 ? w.kh / 2 : 0; }
  int64_t pad_w() const { return layer.padded && stride() == 1 ? w.kw / 2 : 0; }
  // Of an extent of x, that of y.
  int64_t rows(int64_t x) const { return (x + 2 * pad_h() - w.kh) / stride() + 1; }
  int64_t columns(int64_t x) const { return (x + 2 * pad_w() - w.kw) / stride() + 1; }
  void forward(Context& ctx, const FeatureMap& x, FeatureMap y) const;
};

// Largest values of 3 x 3 pixels, stride 2, no padding; gaps of the new map.
FeatureMap halve(Context& ctx, const FeatureMap& x, int64_t gap);

// A "Mixed" block: branches that read the same x and write side by side.
struct BranchSpec {
  std::vector<Layer> body;
  std::vector<Layer> ends;  // one, or two that read the same
};
enum class PoolBranch : uint8_t { average, max, halving };  // before a 1x1 convolution; or a max pool alone
struct BlockSpec {
  std::string name;
  int64_t C;
  std::vector<BranchSpec> branches;
  PoolBranch pool;
  int64_t pool_channels = 0;  // of the convolution
};

class Block {
 public:
  Block(Source& from, const BlockSpec& spec);
  FeatureMap forward(Context& ctx, const FeatureMap& x) const;  // from the arena
  int64_t channels() const { return channels_; }

 private:
  struct Branch {
    std::vector<Unit> body, ends;
    int64_t gap_h(size_t next) const;  // that what follows body[next - 1] pads with
    int64_t gap_w(size_t next) const;
    const Unit& first() const { return body.empty() ? ends[0] : body[0]; }
  };
  void first_layers(Context& ctx, const FeatureMap& x, FeatureMap y, std::vector<FeatureMap>& results) const;
  void pool_branch(Context& ctx, const FeatureMap& x, const FeatureMap& convolved, FeatureMap y) const;

  std::string name_;
  std::vector<Branch> branches_;
  PoolBranch pool_;
  std::vector<Unit> pool_unit_;  // none or one
  int64_t channels_ = 0;
};

}  // namespace uvic::inception
