#pragma once

// Autoencoders whose parameters follow from their names, as files, and golden data of them.

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "model/autoencoder.h"
#include "model/io/safetensors.h"
#include "tests/golden_model.h"
#include "tests/model/generated.h"

namespace uvic::test {

inline std::filesystem::path autoencoder_dir() { return reference_dir("eval") / "autoencoder"; }

// The rule of each kind of tensor in an AutoencoderKL; every operation rounds once.
inline std::vector<float> generated_autoencoder(const std::string& prefix, const std::string& name,
                                                const Shape& shape) {
  std::vector<float> v = generated(prefix + name, shape);
  const auto scale = static_cast<float>(
      std::sqrt(3.0 * static_cast<double>(shape[0]) / static_cast<double>(std::max<int64_t>(shape.numel(), 1))));
  const bool norm = name.find("norm") != std::string::npos && name.ends_with("weight");
  for (float& x : v) x = shape.rank() == 4 ? x * scale : norm ? 1.0f + 0.1f * x : 0.1f * x;
  return v;
}

// Tensors to be written to a file.
struct TensorFile {
  std::vector<NamedTensor> tensors;
  std::vector<OwnedTensor> memory;

  void add(const std::string& name, const Shape& shape, const std::vector<float>& v) {
    memory.emplace_back(Device{}, DType::f32, shape);
    std::copy(v.begin(), v.end(), memory.back().tensor.data<float>());
    tensors.push_back({name, memory.back().tensor});
  }
  NamedTensor& entry(const std::string& name) {
    return *std::find_if(tensors.begin(), tensors.end(), [&](const NamedTensor& t) { return t.name == name; });
  }
};

inline Shape shape_of(const nlohmann::json& dims) {
  const std::vector<int64_t> d = dims;
  return Shape(d.begin(), d.end());
}

// tiny_b of config.json: three levels, two blocks, attention inside of levels.
inline TensorFile generated_tiny_b() {
  const nlohmann::json config = nlohmann::json::parse(std::ifstream(autoencoder_dir() / "config.json"));
  TensorFile file;
  for (const auto& t : config["tiny_b"]["names"])
    file.add(t["name"], shape_of(t["shape"]), generated_autoencoder("tiny_b/", t["name"], shape_of(t["shape"])));
  return file;
}

// The full-size network, by its names in one of the three layouts "ldm", "diffusers", "diffusers_old".
inline TensorFile generated_kl_f8(const std::string& layout) {
  const nlohmann::json names = nlohmann::json::parse(std::ifstream(autoencoder_dir() / "kl_f8_names.json"));
  TensorFile file;
  for (const auto& t : names["tensors"]) {
    const std::string name = t.contains(layout) ? t[layout] : t["diffusers"];
    const Shape shape = shape_of(t[layout == "ldm" ? "shape" : "diffusers_shape"]);
    file.add(name, shape, generated_autoencoder("kl_f8/", t["ldm"], shape_of(t["shape"])));
  }
  return file;
}

}  // namespace uvic::test
