#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "kernels/core/memory.h"

namespace uvic {

// A zip archive, read only, through libzip. Errors start with the path. Built without libzip, opening one is an Error.
class ZipFile {
 public:
  struct Entry {
    std::string name;
    uint64_t bytes = 0;  // uncompressed, as the directory claims
  };

  explicit ZipFile(const std::filesystem::path& path);  // throws too if two entries share a name
  ~ZipFile();
  ZipFile(ZipFile&&) noexcept;
  ZipFile& operator=(ZipFile&&) noexcept;

  const std::vector<Entry>& entries() const;  // in the order of the directory
  const Entry* find(const std::string& name) const;

  // A whole entry, its checksum verified. Throws if there is none of that name, if it is larger than max_bytes (before
  // any memory is taken), encrypted, cut short, or packed by anything but store and deflate.
  Buffer read(const std::string& name, uint64_t max_bytes) const;

  static bool supported();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace uvic
