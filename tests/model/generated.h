#pragma once

#include <string>
#include <vector>

#include "kernels/core/tensor.h"

namespace uvic::test {

// Parameters that name and shape alone decide: SplitMix64 from the FNV-1a hash of the name, in [-1, 1).
inline std::vector<float> generated(const std::string& name, const Shape& shape) {
  uint64_t state = 0xcbf29ce484222325u;
  for (const char c : name) state = (state ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  std::vector<float> u(static_cast<size_t>(shape.numel()));
  for (float& x : u) {
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    x = static_cast<float>(static_cast<int64_t>(z >> 40) - (int64_t{1} << 23)) / 8388608.0f;
  }
  return u;
}

}  // namespace uvic::test
