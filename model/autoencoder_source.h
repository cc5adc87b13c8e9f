#pragma once

#include <set>
#include <string>
#include <vector>

#include "model/model_file.h"

namespace uvic::autoencoder {

// Hands out the tensors of an autoencoder. Errors name the file and the tensor as it is called there.
class Source {
 public:
  // An AutoencoderKL, under the names of LDM (decoder.up.3.block.0.conv1.weight), whichever layout and prefix the file
  // has.
  explicit Source(const Weights& weights);
  // Any network: names are what follows prefix.
  Source(const Weights& weights, std::string prefix) : weights_(weights), prefix_(std::move(prefix)) {}

  std::string where() const { return weights_.path.string(); }
  std::string in_file(const std::string& name) const;  // what the file calls it
  bool has(const std::string& name) const { return bool(find(name)); }
  Tensor find(const std::string& name) const;  // empty if there is none
  // The shape of a tensor of this rank that has to be there.
  Shape shape(const std::string& name, int rank) const;
  // How many of "prefix<0>suffix", "prefix<1>suffix", ... there are.
  int64_t count(const std::string& prefix, const std::string& suffix) const;

  // That the tensor is there and has this shape.
  void check(const std::string& name, const Shape& shape);
  // As f32, whatever the file has; every number is finite.
  OwnedTensor take(const std::string& name, const Shape& shape);
  // Throws if there are tensors that nobody asked for whose names, behind the prefix, begin like this.
  void finish(const std::string& begin) const;

 private:
  std::string diffusers_name(const std::string& name) const;

  const Weights& weights_;
  std::string prefix_;
  bool diffusers_ = false, old_attention_ = false;
  int64_t levels_ = 0;  // of a diffusers decoder, which counts them the other way round
  std::set<std::string> asked_;
};

}  // namespace uvic::autoencoder
