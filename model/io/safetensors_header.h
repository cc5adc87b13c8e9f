#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/core/tensor.h"

namespace uvic {

// The JSON header of a .safetensors file: {"name": {"dtype", "shape", "data_offsets"}, ..., "__metadata__": {strings}}.
struct SafetensorsHeader {
  struct Entry {
    std::string name;
    DType dtype = DType::f32;
    Shape shape;
    uint64_t begin = 0, end = 0;  // bytes of the data section
  };
  std::vector<Entry> entries;  // in the order of their data
  std::map<std::string, std::string> metadata;

  static constexpr size_t kMaxBytes = 100'000'000;  // the limit of the reference implementation
  static constexpr const char* kMetadata = "__metadata__";
};

// Throws Error unless text is a header whose tensors cover the data_bytes that follow it, each byte once.
SafetensorsHeader parse_safetensors_header(std::string_view text, uint64_t data_bytes);

// "F32" ...
const char* safetensors_name(DType dtype);

}  // namespace uvic
