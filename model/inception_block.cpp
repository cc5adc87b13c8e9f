#include "model/inception_block.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/core/text.h"
#include "kernels/ops/transfer.h"
#include "model/io/convert.h"

namespace uvic::inception {
namespace {

constexpr double kEps = 0.001;  // of every batch norm

std::vector<double> take_doubles(Source& from, const std::string& name, int64_t n) {
  const OwnedTensor t = from.take(name, {n});
  const float* v = t.tensor.data<float>();
  return {v, v + n};
}

}  // namespace

OwnedTensor Source::take(const std::string& name, const Shape& shape) {
  const Tensor t = weights_.find(name);
  if (!t)
    throw Error(where() + ": tensor '" + name + "' " + shape.str() + " is missing",
                "wanted an InceptionV3 with pytorch-fid's names, such as pt_inception-2015-12-05-6726825d.pth");
  UVIC_CHECK(t.shape() == shape, where(), ": tensor '", name, "' is ", t.shape(), ", this network needs ", shape);
  taken_.insert(name);
  OwnedTensor out({}, DType::f32, shape);
  convert(t, out.tensor);
  const float* v = out.tensor.data<float>();
  UVIC_CHECK(std::all_of(v, v + out.tensor.numel(), [](float x) { return std::isfinite(x); }), where(), ": tensor '",
             name, "' has a number that is not finite");
  return out;
}

void Source::finish() const {
  const std::vector<std::string> known(taken_.begin(), taken_.end());
  for (const auto& [name, tensor] : weights_.tensors) {
    if (taken_.contains(name) || name.ends_with(".num_batches_tracked") || name.starts_with("AuxLogits.")) continue;
    throw Error(where() + ": tensor '" + name + "' is not in this network",
                "the nearest name in it is '" + nearest(name, known) + "'");
  }
}

Unit::Unit(Source& from, const Layer& described, int64_t C, bool pool_follows) : layer(described) {
  const int64_t M = layer.M, filter = C * layer.kh * layer.kw;
  OwnedTensor w_file = from.take(layer.name + ".conv.weight", {M, C, layer.kh, layer.kw});
  const std::string norm = layer.name + ".bn.";
  const auto gain = take_doubles(from, norm + "weight", M), shift = take_doubles(from, norm + "bias", M),
             mean = take_doubles(from, norm + "running_mean", M), var = take_doubles(from, norm + "running_var", M);
  OwnedTensor b({}, DType::f32, {M});
  for (int64_t m = 0; m < M; ++m) {
    const size_t i = static_cast<size_t>(m);
    UVIC_CHECK(var[i] + kEps > 0, from.where(), ": ", norm, "running_var has ", var[i], ", which is no variance");
    const double factor = gain[i] / std::sqrt(var[i] + kEps);
    b.tensor.data<float>()[m] = static_cast<float>(shift[i] - mean[i] * factor);
    float* row = w_file.tensor.data<float>() + m * filter;
    for (int64_t k = 0; k < filter; ++k) row[k] = static_cast<float>(static_cast<double>(row[k]) * factor);
  }
  const OwnedTensor folded = on_device(from.ctx, std::move(w_file));
  const Tensor filters = layer.unfolded ? folded.tensor.view({M, filter, 1, 1}) : folded.tensor;
  b = on_device(from.ctx, std::move(b));
  w = pack_conv(from.ctx, filters, pool_follows ? Tensor{} : b.tensor);
  if (pool_follows) pool_bias = std::move(b);
}

void Unit::forward(Context& ctx, const FeatureMap& x, FeatureMap y) const {
  const ConvBranch branch{&w, true, y};
  map_conv(ctx, {x, stride(), pad_h(), pad_w()}, {&branch, 1});
}

FeatureMap halve(Context& ctx, const FeatureMap& x, int64_t gap) {
  const FeatureMap y = make_feature_map(ctx, {x.B, (x.h - 3) / 2 + 1, (x.w - 3) / 2 + 1, x.channels, gap, gap});
  max_pool(ctx, x, {3, 3, 2}, y);
  return y;
}

Block::Block(Source& from, const BlockSpec& spec) : name_(spec.name), pool_(spec.pool) {
  for (const BranchSpec& described : spec.branches) {
    Branch branch;
    int64_t C = spec.C;
    const auto add = [&](std::vector<Unit>& units, Layer layer) {
      layer.name = spec.name + "." + layer.name;
      units.emplace_back(from, layer, C);
    };
    for (const Layer& layer : described.body) {
      add(branch.body, layer);
      C = layer.M;
    }
    for (const Layer& layer : described.ends) {
      add(branch.ends, layer);
      channels_ += layer.M;
    }
    branches_.push_back(std::move(branch));
  }
  if (pool_ == PoolBranch::halving) {
    channels_ += spec.C;
    return;
  }
  pool_unit_.emplace_back(from, Layer{spec.name + ".branch_pool", spec.pool_channels}, spec.C,
                          pool_ == PoolBranch::average);
  channels_ += spec.pool_channels;
}

int64_t Block::Branch::gap_h(size_t next) const {
  if (next < body.size()) return body[next].pad_h();
  return std::max(ends.front().pad_h(), ends.back().pad_h());
}
int64_t Block::Branch::gap_w(size_t next) const {
  if (next < body.size()) return body[next].pad_w();
  return std::max(ends.front().pad_w(), ends.back().pad_w());
}

// All 1x1 convolutions of x in one pass over it. An average pool and a convolution may be exchanged, for both are
// linear; after the convolution, there are a quarter of the channels to average.
void Block::first_layers(Context& ctx, const FeatureMap& x, FeatureMap y, std::vector<FeatureMap>& results) const {
  std::vector<ConvBranch> together;
  int64_t at = 0;
  for (const Branch& branch : branches_) {
    FeatureMap result;
    const Unit& unit = branch.first();
    const bool joins = unit.layer.kh == 1 && unit.layer.kw == 1;
    if (branch.body.empty()) {
      result = y.range(at, unit.layer.M);
      if (!joins) unit.forward(ctx, x, result);
    } else {
      result = make_feature_map(ctx, {x.B, x.h, x.w, unit.layer.M, branch.gap_h(1), branch.gap_w(1)});
    }
    if (joins) together.push_back({&unit.w, true, result});
    results.push_back(result);
    for (const Unit& end : branch.ends) at += end.layer.M;
  }
  if (pool_ == PoolBranch::average) {
    results.push_back(make_feature_map(ctx, {x.B, x.h, x.w, pool_unit_[0].layer.M, 0, 0}));
    together.push_back({&pool_unit_[0].w, false, results.back()});
  }
  map_conv(ctx, {.x = x}, together);
}

void Block::pool_branch(Context& ctx, const FeatureMap& x, const FeatureMap& convolved, FeatureMap y) const {
  switch (pool_) {
    case PoolBranch::average: return average_pool(ctx, convolved, {3, 3, 1, 1, 1}, pool_unit_[0].pool_bias.tensor, y);
    case PoolBranch::halving: return max_pool(ctx, x, {3, 3, 2}, y);
    case PoolBranch::max: {
      const FeatureMap pooled = make_feature_map(ctx, {x.B, x.h, x.w, x.channels, 0, 0});
      max_pool(ctx, x, {3, 3, 1, 1, 1}, pooled);
      return pool_unit_[0].forward(ctx, pooled, y);
    }
  }
}

FeatureMap Block::forward(Context& ctx, const FeatureMap& x) const {
  const Unit& last = branches_[0].ends[0];
  const FeatureMap y = make_feature_map(ctx, {x.B, last.rows(x.h), last.columns(x.w), channels_, 0, 0});
  const auto scope = ctx.scope(name_);
  std::vector<FeatureMap> results;
  first_layers(ctx, x, y, results);
  int64_t at = 0;
  for (size_t b = 0; b < branches_.size(); ++b) {
    const Branch& branch = branches_[b];
    const auto branch_scope = ctx.scope(branch.first().layer.name.substr(name_.size() + 1));
    FeatureMap current = results[b];
    for (size_t i = 1; i < branch.body.size(); ++i) {
      const Unit& unit = branch.body[i];
      const FeatureMap next = make_feature_map(ctx, {x.B, unit.rows(current.h), unit.columns(current.w), unit.layer.M,
                                                     branch.gap_h(i + 1), branch.gap_w(i + 1)});
      unit.forward(ctx, current, next);
      current = next;
    }
    for (const Unit& end : branch.ends) {
      if (!branch.body.empty()) end.forward(ctx, current, y.range(at, end.layer.M));
      at += end.layer.M;
    }
  }
  pool_branch(ctx, x, results.back(), y.range(at, channels_ - at));
  return y;
}

}  // namespace uvic::inception
