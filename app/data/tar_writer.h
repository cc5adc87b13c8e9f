#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

namespace uvic {

// A tar file (ustar; pax records for names that need them) of the same bytes whenever it holds the same: no owner, no
// time. Written to a temporary name; path is a whole tar file or what it was before.
class TarWriter {
 public:
  explicit TarWriter(const std::filesystem::path& path);
  ~TarWriter();  // without commit() nothing stays
  TarWriter(const TarWriter&) = delete;
  TarWriter& operator=(const TarWriter&) = delete;

  // Throws Error naming the path when the disk is full.
  void add(const std::string& name, std::span<const uint8_t> contents);
  int64_t bytes() const;  // so far
  void commit();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace uvic
