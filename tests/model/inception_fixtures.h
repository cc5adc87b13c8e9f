#pragma once

// Weights of the size of InceptionV3 that no file has to hold, and golden data of that network.

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "model/inception.h"
#include "model/io/safetensors.h"
#include "tests/check.h"
#include "tests/model/generated.h"

namespace uvic::test {

// The rule of each kind of tensor in an Inception; every operation rounds once.
inline std::vector<float> generated_inception(const std::string& name, const Shape& shape) {
  std::vector<float> v = generated(name, shape);
  const double fan_in = static_cast<double>(shape.numel()) / static_cast<double>(shape[0]);
  const auto apply = [&](const auto& f) {
    for (float& x : v) x = f(x);
  };
  if (name.ends_with(".conv.weight")) {
    apply([scale = static_cast<float>(std::sqrt(7.5 / fan_in))](float u) { return u * scale; });
  } else if (name == "fc.weight") {
    apply([scale = static_cast<float>(std::sqrt(75.0 / 2048.0))](float u) { return u * scale; });
  } else if (name.ends_with(".bn.weight")) {
    apply([](float u) { return 1.0f + 0.1f * u; });
  } else if (name.ends_with(".running_var")) {
    apply([](float u) { return 1.0f + 0.5f * std::abs(u); });
  } else {
    apply([](float u) { return 0.1f * u; });
  }
  return v;
}

// A state dict with the names and shapes of the published file.
inline Weights generated_inception() {
  const auto path = reference_dir("eval") / "inception" / "inception_names.json";
  auto memory = std::make_shared<std::vector<OwnedTensor>>();
  Weights weights{.path = "generated.pth", .keep_alive = memory};
  const nlohmann::json names = nlohmann::json::parse(std::ifstream(path));
  for (const auto& t : names["tensors"]) {
    const std::string name = t["name"];
    const std::vector<int64_t> dims = t["shape"];
    const Shape shape(dims.begin(), dims.end());
    if (t["optional"]) {
      memory->emplace_back(Device{}, DType::i64, shape);
    } else {
      memory->emplace_back(Device{}, DType::f32, shape);
      const std::vector<float> v = generated_inception(name, shape);
      std::copy(v.begin(), v.end(), memory->back().tensor.data<float>());
    }
    weights.tensors.emplace_back(name, memory->back().tensor);
  }
  return weights;
}

}  // namespace uvic::test
