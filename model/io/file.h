#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

#include "kernels/core/error.h"

namespace uvic {

// Throws an Error "<path>: <what>: <strerror(errno)>".
[[noreturn]] void fail_errno(const std::filesystem::path& path, const char* what);

// Runs f; an Error that leaves it begins with the path.
template <class F>
auto in_file(const std::filesystem::path& path, F&& f) {
  try {
    return f();
  } catch (const Error& e) {
    const std::string what = e.what();
    throw Error(what.starts_with(path.string()) ? what : path.string() + ": " + what, e.hint());
  }
}

// A regular file mapped read only. It must not be shortened while it is mapped: touching what is gone raises SIGBUS,
// which no check can catch. Replacing it by a rename, as AtomicFile does, is safe.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// Writes path + ".tmp"; commit() fsyncs it, renames it to path and fsyncs the folder. path is the old file or the whole
// new one, never a part, whatever fails and whenever the power goes. Without commit the temporary file is removed.
// One writer a path: two processes that write the same path share the temporary name.
class AtomicFile {
 public:
  explicit AtomicFile(const std::filesystem::path& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* data, size_t bytes);
  void commit();

 private:
  std::filesystem::path path_, temporary_;
  int file_ = -1;
};

// Makes renames and new names in a folder survive a power cut.
void sync_folder(const std::filesystem::path& folder);

}  // namespace uvic
