#include "model/clip_text_names.h"

#include <algorithm>
#include <set>

#include "kernels/core/text.h"
#include "kernels/ops/transfer.h"
#include "model/io/convert.h"
#include "model/io/finite.h"

namespace uvic {
namespace {

constexpr const char* kHuggingFace = "embeddings.token_embedding.weight";
constexpr const char* kOpenAi = "token_embedding.weight";

}  // namespace

ClipTextNames::ClipTextNames(const Weights& weights) : weights_(weights) {
  find_layout();
  find_sizes();
  list_pieces();
  check();
}

void ClipTextNames::find_layout() {
  const auto ends = [&](const char* name) {
    return std::find_if(weights_.tensors.begin(), weights_.tensors.end(),
                        [&](const auto& t) { return t.first.ends_with(name); });
  };
  auto found = ends(kHuggingFace);
  openai_ = found == weights_.tensors.end();
  if (openai_) found = ends(kOpenAi);
  if (found == weights_.tensors.end())
    throw Error(weights_.path.string() + ": not a CLIP text tower: no tensor is named '..." + kOpenAi + "'",
                "wanted a CLIPTextModel or CLIPModel of HuggingFace's, or OpenAI's original state dict");
  const std::string suffix = openai_ ? kOpenAi : kHuggingFace;
  prefix_ = found->first.substr(0, found->first.size() - suffix.size());
  layer_ = prefix_ + (openai_ ? "transformer.resblocks." : "encoder.layers.");
}

Tensor ClipTextNames::need(const std::string& name, int rank) const {
  const Tensor t = weights_.find(name);
  UVIC_CHECK(t, weights_.path.string(), ": tensor '", name, "' is missing");
  UVIC_CHECK(t.rank() == rank && t.numel() > 0, weights_.path.string(), ": tensor '", name, "' is ", t.shape(),
             ", wanted one of rank ", rank);
  return t;
}

void ClipTextNames::find_sizes() {
  const Tensor table = need(prefix_ + (openai_ ? kOpenAi : kHuggingFace), 2);
  sizes_.vocabulary = table.dim(0);
  sizes_.width = table.dim(1);
  sizes_.tokens = need(prefix_ + (openai_ ? "positional_embedding" : "embeddings.position_embedding.weight"), 2).dim(0);
  sizes_.hidden = need(layer_ + (openai_ ? "0.mlp.c_fc.weight" : "0.mlp.fc1.weight"), 2).dim(0);
  // One more than the highest number, so that a layer that is missing in between is missed.
  for (const auto& [name, tensor] : weights_.tensors) {
    if (!name.starts_with(layer_)) continue;
    const std::string number = name.substr(layer_.size(), name.find('.', layer_.size()) - layer_.size());
    UVIC_CHECK(!number.empty() && number.size() < 5 && number.find_first_not_of("0123456789") == std::string::npos,
               weights_.path.string(), ": tensor '", name, "' is not in a CLIP text tower");
    sizes_.layers = std::max<int64_t>(sizes_.layers, std::stoi(number) + 1);
  }
}

void ClipTextNames::list_pieces() {
  const int64_t w = sizes_.width, h = sizes_.hidden;
  const auto add = [&](const std::string& source, Shape shape, const std::string& target, int64_t part = 0) {
    pieces_.push_back({prefix_ + source, shape, target, part});
  };
  const auto both = [&](const std::string& source, Shape weight, const std::string& target, int64_t part = 0) {
    add(source + ".weight", weight, target + ".weight", part);
    add(source + ".bias", {weight[0]}, target + ".bias", part);
  };
  add(openai_ ? kOpenAi : kHuggingFace, {sizes_.vocabulary, w}, "token_embedding");
  add(openai_ ? "positional_embedding" : "embeddings.position_embedding.weight", {sizes_.tokens, w},
      "position_embedding");
  for (int64_t i = 0; i < sizes_.layers; ++i) {
    const std::string from = concat(layer_.substr(prefix_.size()), i, '.'), to = concat("layers.", i, '.');
    both(from + (openai_ ? "ln_1" : "layer_norm1"), {w}, to + "norm1");
    if (openai_) {
      add(from + "attn.in_proj_weight", {3 * w, w}, to + "qkv.weight");
      add(from + "attn.in_proj_bias", {3 * w}, to + "qkv.bias");
    } else {
      for (const auto& [name, part] : {std::pair("q", 0), {"k", 1}, {"v", 2}})
        both(concat(from, "self_attn.", name, "_proj"), {w, w}, to + "qkv", part);
    }
    both(from + (openai_ ? "attn.out_proj" : "self_attn.out_proj"), {w, w}, to + "proj");
    both(from + (openai_ ? "ln_2" : "layer_norm2"), {w}, to + "norm2");
    both(from + (openai_ ? "mlp.c_fc" : "mlp.fc1"), {h, w}, to + "fc1");
    both(from + (openai_ ? "mlp.c_proj" : "mlp.fc2"), {w, h}, to + "fc2");
  }
  both(openai_ ? "ln_final" : "final_layer_norm", {w}, "norm");
}

void ClipTextNames::check() const {
  const std::string where = weights_.path.string();
  std::set<std::string> known;
  for (const Piece& p : pieces_) {
    const Tensor t = weights_.find(p.source);
    UVIC_CHECK(t, where, ": tensor '", p.source, "' ", p.shape, " is missing");
    UVIC_CHECK(t.shape() == p.shape, where, ": tensor '", p.source, "' is ", t.shape(), ", this text tower needs ",
               p.shape);
    known.insert(p.source);
  }
  // HuggingFace keeps the tower apart; OpenAI's layers alone have a name that the image tower does not share.
  const std::string ours = openai_ || prefix_.empty() ? layer_ : prefix_, counter = prefix_ + "embeddings.position_ids";
  const std::vector<std::string> names(known.begin(), known.end());
  for (const auto& [name, tensor] : weights_.tensors)
    if (name.starts_with(ours) && !known.contains(name) && name != counter)
      throw Error(where + ": tensor '" + name + "' is not in a CLIP text tower",
                  "the nearest name in it is '" + nearest(name, names) + "'");
}

void ClipTextNames::load(Context& ctx, ParamStore& store) const {
  for (const Piece& p : pieces_) {
    const int id = store.find(p.target);
    UVIC_CHECK(id >= 0, "clip_text: no parameter '", p.target, "'");
    const int64_t begin = p.part * p.shape[0];
    const Tensor to = store.view(Role::working, id).rows(begin, begin + p.shape[0]);
    const OwnedTensor host = host_for(ctx, to);
    convert(weights_.find(p.source), host.tensor);
    UVIC_CHECK(all_finite(host.tensor), weights_.path.string(), ": tensor '", p.source,
               "' has a number that is not finite");
    upload(ctx, host.tensor, to);
  }
}

}  // namespace uvic
