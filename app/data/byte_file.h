#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace uvic {

// A regular file, open for reading. Errors name its path and the system's reason.
class ByteFile {
 public:
  enum class Access : uint8_t { any, sequential };  // sequential: the system may read far ahead of what is asked for

  explicit ByteFile(const std::filesystem::path& path, Access access = Access::any);
  ~ByteFile();
  ByteFile(const ByteFile&) = delete;
  ByteFile& operator=(const ByteFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  // size < 0: up to the end.
  std::vector<uint8_t> read(int64_t offset, int64_t size) const;

 private:
  std::filesystem::path path_;
  int file_ = -1;
  int64_t size_ = 0;
};

}  // namespace uvic
