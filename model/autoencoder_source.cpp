#include "model/autoencoder_source.h"

#include <algorithm>
#include <utility>

#include "kernels/core/text.h"
#include "model/io/convert.h"
#include "model/io/finite.h"

namespace uvic::autoencoder {
namespace {

// What stands before the names: nothing, "first_stage_model." in whole Stable Diffusion checkpoints, or something else.
std::string prefix_of(const Weights& weights) {
  for (const char* known : {"decoder.conv_in.weight", "encoder.conv_in.weight"})
    for (const auto& [name, tensor] : weights.tensors)
      if (name == known || name.ends_with(concat(".", known)))
        return name.substr(0, name.size() - std::string(known).size());
  return {};
}

std::vector<std::string> split(const std::string& name) {
  std::vector<std::string> parts(1);
  for (const char c : name) c == '.' ? static_cast<void>(parts.emplace_back()) : parts.back().push_back(c);
  return parts;
}

const std::pair<const char*, const char*> kAttention[] = {
    {"norm", "group_norm"}, {"q", "to_q"}, {"k", "to_k"}, {"v", "to_v"}, {"proj_out", "to_out.0"}};
const std::pair<const char*, const char*> kOldAttention[] = {
    {"norm", "group_norm"}, {"q", "query"}, {"k", "key"}, {"v", "value"}, {"proj_out", "proj_attn"}};

}  // namespace

Source::Source(const Weights& weights) : weights_(weights), prefix_(prefix_of(weights)) {
  for (const auto& [name, tensor] : weights.tensors) {
    diffusers_ |= name.starts_with(prefix_ + "decoder.mid_block.") || name.starts_with(prefix_ + "encoder.mid_block.");
    old_attention_ |= name.find(".attentions.0.query.") != std::string::npos;
  }
  if (!diffusers_) return;
  while (weights.find(concat(prefix_, "decoder.up_blocks.", levels_, ".resnets.0.conv1.weight"))) ++levels_;
}

// encoder.down.1.block.0.nin_shortcut.weight -> encoder.down_blocks.1.resnets.0.conv_shortcut.weight
std::string Source::diffusers_name(const std::string& name) const {
  std::vector<std::string> p = split(name);
  const bool in_half = p.size() > 2 && (p[0] == "encoder" || p[0] == "decoder");
  if (!in_half) return name;
  const auto attention = [&](std::string& part) {
    for (const auto& [ldm, theirs] : old_attention_ ? kOldAttention : kAttention)
      if (part == ldm) return static_cast<void>(part = theirs);
  };
  if (p[1] == "norm_out") p[1] = "conv_norm_out";
  if (p[1] == "mid" && p.size() > 3) {
    if (p[2] == "attn_1") attention(p[3]);
    p[2] = p[2] == "block_1" ? "resnets.0" : p[2] == "block_2" ? "resnets.1" : "attentions.0";
    p[1] = "mid_block";
  }
  if ((p[1] == "down" || p[1] == "up") && p.size() > 4) {
    if (p[1] == "up") p[2] = std::to_string(levels_ - 1 - std::stoll(p[2]));
    p[1] += "_blocks";
    if (p[3] == "attn") attention(p[5]);
    if (p[3] == "block" && p[5] == "nin_shortcut") p[5] = "conv_shortcut";
    p[3] = p[3] == "block"        ? "resnets"
           : p[3] == "attn"       ? "attentions"
           : p[3] == "downsample" ? "downsamplers.0"
                                  : "upsamplers.0";
  }
  return join(p, ".");
}

std::string Source::in_file(const std::string& name) const {
  return prefix_ + (diffusers_ ? diffusers_name(name) : name);
}

Tensor Source::find(const std::string& name) const { return weights_.find(in_file(name)); }

Shape Source::shape(const std::string& name, int rank) const {
  const Tensor t = find(name);
  if (!t)
    throw Error(concat(where(), ": tensor '", in_file(name), "' is missing"),
                "wanted an autoencoder such as autoencoder_kl.pth, diffusers' vae/ or taesd_decoder.pth");
  UVIC_CHECK(t.rank() == rank && t.numel() > 0, where(), ": tensor '", in_file(name), "' is ", t.shape(),
             ", wanted rank ", rank);
  return t.shape();
}

int64_t Source::count(const std::string& prefix, const std::string& suffix) const {
  int64_t n = 0;
  while (has(concat(prefix, n, suffix))) ++n;
  return n;
}

void Source::check(const std::string& name, const Shape& wanted) {
  const Tensor t = find(name);
  UVIC_CHECK(t, where(), ": tensor '", in_file(name), "' ", wanted, " is missing");
  // Convolutions of one pixel are linear layers in newer files.
  const bool flat = wanted.rank() == 4 && wanted[2] == 1 && wanted[3] == 1 && t.shape() == Shape{wanted[0], wanted[1]};
  UVIC_CHECK(flat || t.shape() == wanted, where(), ": tensor '", in_file(name), "' is ", t.shape(),
             ", this network needs ", wanted);
  asked_.insert(in_file(name));
}

OwnedTensor Source::take(const std::string& name, const Shape& wanted) {
  check(name, wanted);
  OwnedTensor out({}, DType::f32, wanted);
  convert(find(name), out.tensor);
  UVIC_CHECK(all_finite(out.tensor), where(), ": tensor '", in_file(name), "' has a number that is not finite");
  return out;
}

void Source::finish(const std::string& begin) const {
  const std::vector<std::string> known(asked_.begin(), asked_.end());
  for (const auto& [name, tensor] : weights_.tensors) {
    if (!name.starts_with(prefix_ + begin) || asked_.contains(name)) continue;
    throw Error(concat(where(), ": tensor '", name, "' is not in this network"),
                concat("the nearest name in it is '", nearest(name, known), "'"));
  }
}

}  // namespace uvic::autoencoder
