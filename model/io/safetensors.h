#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernels/core/memory.h"

namespace uvic {

// A .safetensors file: 8-byte little-endian header length, JSON header, raw little-endian data
// (https://github.com/huggingface/safetensors). Everything is checked before anything is used: header length, JSON,
// dtypes, shapes, overflow, offsets in range, without overlap, gap or unused tail. Whatever is wrong throws an Error
// that starts with the path; no byte of a hostile file is trusted or executed, and nothing larger than it is allocated.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);  // maps the file; tensors view the mapping, read only
  ~SafetensorsFile();
  SafetensorsFile(SafetensorsFile&&) noexcept;
  SafetensorsFile& operator=(SafetensorsFile&&) noexcept;

  const std::filesystem::path& path() const;
  const std::map<std::string, std::string>& metadata() const;
  const std::vector<std::string>& names() const;       // in the order of their data
  bool contains(const std::string& name) const;
  Tensor tensor(const std::string& name) const;        // throws, naming the file and the nearest name, if absent

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

struct NamedTensor {
  std::string name;
  Tensor tensor;
};

// Writes to path + ".tmp", fsyncs, renames: path is the old file or the whole new one, never a part. Host tensors only.
void write_safetensors(const std::filesystem::path& path, const std::vector<NamedTensor>& tensors,
                       const std::map<std::string, std::string>& metadata);

// Element i of a host tensor of any float or integer dtype as double; to copy a whole tensor use convert().
void convert(Tensor src, Tensor dst);  // any file dtype to f32, bf16, f64 or i64; same number of elements; host only

}  // namespace uvic
