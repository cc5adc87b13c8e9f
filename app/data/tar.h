#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace uvic {

struct TarEntry {
  std::string name;
  int64_t offset = 0;  // of the contents, in bytes from the start of the file
  int64_t size = 0;
};

// The regular files of an uncompressed tar file in their order (ustar, pax, GNU). Only headers are read. Throws Error
// naming the path for a damaged, truncated or compressed one.
std::vector<TarEntry> read_tar_index(const std::filesystem::path& path);

}  // namespace uvic
