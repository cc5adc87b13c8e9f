#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernels/core/memory.h"
#include "model/io/convert.h"

namespace uvic {

// A .safetensors file: 8-byte little-endian header length, JSON header, raw little-endian data
// (https://github.com/huggingface/safetensors). Everything is checked before anything is used: header length, JSON,
// dtypes, shapes, overflow, offsets in range, without overlap, gap or unused tail. Whatever is wrong throws an Error
// that starts with the path; nothing of a hostile file is trusted, and no allocation has a size that it merely claims.
// The file must not be shortened while it is open; replacing it by a rename, as write_safetensors does, is safe.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);  // maps the file
  ~SafetensorsFile();
  SafetensorsFile(SafetensorsFile&&) noexcept;
  SafetensorsFile& operator=(SafetensorsFile&&) noexcept;

  const std::filesystem::path& path() const;
  const std::map<std::string, std::string>& metadata() const;
  const std::vector<std::string>& names() const;  // in the order of their data
  bool contains(const std::string& name) const;

  // A view of the mapping, in the file's dtype, aligned for it; valid while this object lives. Read only: the pages are
  // protected. Throws, naming the file and the nearest name, if there is no such tensor.
  Tensor tensor(const std::string& name) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

struct NamedTensor {
  std::string name;
  Tensor tensor;
};

// Writes to path + ".tmp", fsyncs, renames: path is the old file or the whole new one, never a part. The data follows
// the given order, wider dtypes first, so that every tensor is aligned in the file. fetch, if given, is called for one
// tensor after the other, by its place in tensors, and gives the host's copy of it; tensors need not have data then.
// Where they lie elsewhere, no more than the largest is in host memory at a time. Throws on a repeated name, and on a
// failed system call with path and reason.
void write_safetensors(const std::filesystem::path& path, const std::vector<NamedTensor>& tensors,
                       const std::map<std::string, std::string>& metadata,
                       const std::function<OwnedTensor(size_t)>& fetch = {});

}  // namespace uvic
