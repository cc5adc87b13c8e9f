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

  // An entry from front to end, for those larger than memory. It keeps the archive open.
  class Stream {
   public:
    // The next bytes. Throws as read() does, and where fewer are left.
    void read(void* to, uint64_t bytes);
    void skip(uint64_t bytes);
    // Throws unless everything has been read and the checksum is right.
    void expect_end();

   private:
    friend class ZipFile;
    struct Impl;
    explicit Stream(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
    std::shared_ptr<Impl> impl_;
  };
  Stream open(const std::string& name) const;

  static bool supported();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

struct ZipContent {
  std::string name, bytes;
};
// Writes an archive of them, uncompressed, to path + ".tmp", then synced and renamed: path is the old file or the whole
// new one. Throws Error naming path, and if that is no file that may be replaced.
void write_zip(const std::filesystem::path& path, const std::vector<ZipContent>& contents);

}  // namespace uvic
