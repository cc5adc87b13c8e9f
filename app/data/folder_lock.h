#pragma once

#include <filesystem>
#include <string>

namespace uvic {

// One process at a time writes into a folder, or things of one kind into it, as long as this object lives. The kernel
// keeps the lock, so that it goes with its process however that ends; the file "<kind>.lock", with the process's number
// in it, is there for who reads the folder and is removed at the end.
class FolderLock {
 public:
  // folder exists. Throws Error naming folder and the process that holds it, or if the lock cannot be made.
  explicit FolderLock(const std::filesystem::path& folder, const std::string& kind = "uvic");
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  std::filesystem::path path_;
  int file_ = -1;
};

}  // namespace uvic
