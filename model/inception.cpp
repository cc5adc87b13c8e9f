#include "model/inception.h"

#include <algorithm>

#include "kernels/ops/linear.h"
#include "kernels/ops/pointwise.h"
#include "kernels/ops/transfer.h"
#include "model/inception_block.h"

namespace uvic {
namespace {

using namespace inception;

// Images at a time. Each piece reads all weights, 95 MB, from memory once, so it should not be small; but maps of the
// stem take 14 MB an image, so that it goes in smaller steps.
constexpr int64_t kPiece = 16, kStemPiece = 2;

// 35 x 35: 1x1 | 5x5 | 3x3 twice | pool
BlockSpec block_a(const std::string& name, int64_t C, int64_t pool) {
  return {name,
          C,
          {{{}, {{"branch1x1", 64}}},
           {{{"branch5x5_1", 48}}, {{"branch5x5_2", 64, 5, 5}}},
           {{{"branch3x3dbl_1", 64}, {"branch3x3dbl_2", 96, 3, 3}}, {{"branch3x3dbl_3", 96, 3, 3}}}},
          PoolBranch::average,
          pool};
}

// 35 x 35 to 17 x 17
BlockSpec block_b(const std::string& name, int64_t C) {
  return {name,
          C,
          {{{}, {{"branch3x3", 384, 3, 3, 2}}},
           {{{"branch3x3dbl_1", 64}, {"branch3x3dbl_2", 96, 3, 3}}, {{"branch3x3dbl_3", 96, 3, 3, 2}}}},
          PoolBranch::halving};
}

// 17 x 17: 1x1 | 7x7 as 1x7 and 7x1 | the same twice | pool
BlockSpec block_c(const std::string& name, int64_t C, int64_t width) {
  return {name,
          C,
          {{{}, {{"branch1x1", 192}}},
           {{{"branch7x7_1", width}, {"branch7x7_2", width, 1, 7}}, {{"branch7x7_3", 192, 7, 1}}},
           {{{"branch7x7dbl_1", width},
             {"branch7x7dbl_2", width, 7, 1},
             {"branch7x7dbl_3", width, 1, 7},
             {"branch7x7dbl_4", width, 7, 1}},
            {{"branch7x7dbl_5", 192, 1, 7}}}},
          PoolBranch::average,
          192};
}

// 17 x 17 to 8 x 8
BlockSpec block_d(const std::string& name, int64_t C) {
  return {name,
          C,
          {{{{"branch3x3_1", 192}}, {{"branch3x3_2", 320, 3, 3, 2}}},
           {{{"branch7x7x3_1", 192}, {"branch7x7x3_2", 192, 1, 7}, {"branch7x7x3_3", 192, 7, 1}},
            {{"branch7x7x3_4", 192, 3, 3, 2}}}},
          PoolBranch::halving};
}

// 8 x 8: 1x1 | 3x3 as 1x3 beside 3x1 | 3x3, then the same | pool
BlockSpec block_e(const std::string& name, int64_t C, PoolBranch pool) {
  return {name,
          C,
          {{{}, {{"branch1x1", 320}}},
           {{{"branch3x3_1", 384}}, {{"branch3x3_2a", 384, 1, 3}, {"branch3x3_2b", 384, 3, 1}}},
           {{{"branch3x3dbl_1", 448}, {"branch3x3dbl_2", 384, 3, 3}},
            {{"branch3x3dbl_3a", 384, 1, 3}, {"branch3x3dbl_3b", 384, 3, 1}}}},
          pool,
          192};
}

}  // namespace

struct Inception::Network {
  Network(Source from, Pool pool);
  FeatureMap stem(Context& ctx, Tensor x, const Outputs& out, const Visitor& visit, int64_t first) const;
  void forward(Context& ctx, Tensor x, const Outputs& out, const Visitor& visit, int64_t first) const;
  void classify(Context& ctx, Tensor pool3, const Outputs& out) const;

  Unit conv_1a, conv_2a, conv_2b, conv_3b, conv_4a;
  std::vector<std::pair<std::string, Block>> blocks;
  OwnedTensor fc_weight, fc_bias;  // [classes, 2048], [classes]; empty if the file has none
  Pool mixed_7c;
};

Inception::Network::Network(Source from, Pool pool)
    : conv_1a(from, {"Conv2d_1a_3x3", 32, 3, 3, 2, false, true}, 3),
      conv_2a(from, {"Conv2d_2a_3x3", 32, 3, 3, 1, false}, 32),
      conv_2b(from, {"Conv2d_2b_3x3", 64, 3, 3}, 32),
      conv_3b(from, {"Conv2d_3b_1x1", 80}, 64),
      conv_4a(from, {"Conv2d_4a_3x3", 192, 3, 3, 1, false}, 80),
      mixed_7c(pool) {
  const PoolBranch last = pool == Pool::max ? PoolBranch::max : PoolBranch::average;
  for (const BlockSpec& spec :
       {block_a("Mixed_5b", 192, 32), block_a("Mixed_5c", 256, 64), block_a("Mixed_5d", 288, 64),
        block_b("Mixed_6a", 288), block_c("Mixed_6b", 768, 128), block_c("Mixed_6c", 768, 160),
        block_c("Mixed_6d", 768, 160), block_c("Mixed_6e", 768, 192), block_d("Mixed_7a", 768),
        block_e("Mixed_7b", 1280, PoolBranch::average), block_e("Mixed_7c", 2048, last)})
    blocks.emplace_back(spec.name, Block(from, spec));
  if (const Tensor fc = from.find("fc.weight"); fc && fc.rank() > 0) {
    fc_weight = on_device(from.ctx, from.take("fc.weight", {fc.dim(0), kFeatures}));
    fc_bias = on_device(from.ctx, from.take("fc.bias", {fc_weight.tensor.dim(0)}));
  }
  from.finish();
}

// To 35 x 35 x 192.
FeatureMap Inception::Network::stem(Context& ctx, Tensor x, const Outputs& out, const Visitor& visit,
                                    int64_t first) const {
  const int64_t B = x.dim(0);
  const FeatureMap result = make_feature_map(ctx, {B, 35, 35, 192, 0, 0});
  for (int64_t begin = 0; begin < B; begin += kStemPiece) {
    const auto scope = ctx.scope("stem");
    const int64_t end = std::min(B, begin + kStemPiece), n = end - begin;
    const auto show = [&](const std::string& name, const FeatureMap& map) {
      if (visit) visit(name, map, first + begin);
      return map;
    };
    const auto mean = [&](const FeatureMap& map, Tensor of) {
      if (of) spatial_mean(ctx, map, of.rows(begin, end));
    };
    const auto layer = [&](const Unit& unit, const FeatureMap& from, int64_t gap = 0) {
      const FeatureMap y = make_feature_map(ctx, {n, unit.rows(from.h), unit.columns(from.w), unit.layer.M, gap, gap});
      unit.forward(ctx, from, y);
      return show(unit.layer.name, y);
    };
    const FeatureMap unfolded = make_feature_map(ctx, {n, 149, 149, 27, 0, 0});
    unfold(ctx, x.rows(begin, end), {3, 3, 2}, unfolded);
    const FeatureMap b = layer(conv_2b, layer(conv_2a, layer(conv_1a, unfolded), 1));
    const FeatureMap pool1 = show("pool1", halve(ctx, b, 0));
    mean(pool1, out.pool1);
    const FeatureMap pool2 = result.images(begin, n);
    max_pool(ctx, layer(conv_4a, layer(conv_3b, pool1)), {3, 3, 2}, pool2);
    mean(show("pool2", pool2), out.pool2);
  }
  return result;
}

void Inception::Network::forward(Context& ctx, Tensor x, const Outputs& out, const Visitor& visit,
                                 int64_t first) const {
  const int64_t B = x.dim(0);
  FeatureMap map = stem(ctx, x, out, visit, first);
  for (const auto& [name, block] : blocks) {
    map = block.forward(ctx, map);
    if (visit) visit(name, map, first);
    if (name == "Mixed_6d" && out.spatial) to_tensor(ctx, map.range(0, 7), out.spatial.view({B, map.h, map.w, 7}));
    if (name == "Mixed_6e" && out.mixed_6e) spatial_mean(ctx, map, out.mixed_6e);
  }
  if (!out.pool3 && !out.logits && !out.logits_unbiased) return;
  // As many rows as ever: a product of another size might sum in another order.
  const Tensor pool3 = ctx.empty(DType::f32, {kPiece, kFeatures});
  zero(ctx, pool3);
  spatial_mean(ctx, map, pool3.rows(0, B));
  if (out.pool3) cast(ctx, pool3.rows(0, B), out.pool3);
  if (out.logits || out.logits_unbiased) classify(ctx, pool3, out);
}

void Inception::Network::classify(Context& ctx, Tensor pool3, const Outputs& out) const {
  const Tensor all = ctx.empty(DType::f32, {kPiece, fc_weight.tensor.dim(0)});
  for (const auto& [to, bias] : {std::pair{out.logits, fc_bias.tensor}, std::pair{out.logits_unbiased, Tensor{}}}) {
    if (!to) continue;
    linear_forward(ctx, {.x = pool3, .w = fc_weight.tensor, .b = bias}, all);
    cast(ctx, all.rows(0, to.dim(0)), to);
  }
}

Inception::Inception(Context& ctx, const Weights& weights, Pool mixed_7c)
    : network_(std::make_unique<Network>(Source(ctx, weights), mixed_7c)) {}
Inception::~Inception() = default;
Inception::Inception(Inception&&) noexcept = default;
Inception& Inception::operator=(Inception&&) noexcept = default;

int64_t Inception::classes() const { return network_->fc_weight.tensor ? network_->fc_weight.tensor.dim(0) : 0; }
Pool Inception::mixed_7c() const { return network_->mixed_7c; }

void Inception::forward(Context& ctx, Tensor x, const Outputs& out, const Visitor& visit) const {
  const auto where = ctx.scope("inception");
  UVIC_CHECK(x && x.dtype() == DType::f32 && x.shape() == Shape({x.dim(0), 3, kSide, kSide}), "inception: x is ",
             x.dtype(), ' ', x.shape(), ", wanted f32 [B, 3, ", kSide, ", ", kSide, "]");
  struct Wanted {
    const char* name;
    Tensor Outputs::*tensor;
    int64_t width;
  };
  const Wanted wanted[] = {
      {"pool1", &Outputs::pool1, 64},          {"pool2", &Outputs::pool2, 192},
      {"mixed_6e", &Outputs::mixed_6e, 768},   {"pool3", &Outputs::pool3, kFeatures},
      {"logits", &Outputs::logits, classes()}, {"logits_unbiased", &Outputs::logits_unbiased, classes()},
      {"spatial", &Outputs::spatial, kSpatial}};
  for (const Wanted& w : wanted) {
    const Tensor t = out.*w.tensor;
    if (!t) continue;
    UVIC_CHECK(w.width > 0, "inception: ", w.name, " are wanted, but the file of weights has no fc.weight");
    UVIC_CHECK(t.dtype() == DType::f32 && t.shape() == Shape({x.dim(0), w.width}), "inception: ", w.name, " is ",
               t.dtype(), ' ', t.shape(), ", wanted f32 ", Shape{x.dim(0), w.width});
  }
  for (int64_t begin = 0; begin < x.dim(0); begin += kPiece) {
    const auto scope = ctx.scope("piece");
    const int64_t end = std::min(x.dim(0), begin + kPiece);
    Outputs part;
    for (const Wanted& w : wanted)
      if (const Tensor t = out.*w.tensor) part.*w.tensor = t.rows(begin, end);
    network_->forward(ctx, x.rows(begin, end), part, visit, begin);
  }
}

}  // namespace uvic
