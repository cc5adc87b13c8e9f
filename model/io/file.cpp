#include "model/io/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

namespace uvic {
namespace {

// A descriptor that is closed on every way out.
struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

}  // namespace

void fail_errno(const std::filesystem::path& path, const char* what) {
  const int error = errno;
  fail(path.string(), ": ", what, ": ", std::generic_category().message(error));
}

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path) {
  // Non-blocking, or opening a named pipe would wait for its writer for ever.
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.fd < 0) fail_errno(path, "cannot open");
  struct stat info {};
  if (::fstat(file.fd, &info) != 0) fail_errno(path, "cannot stat");
  UVIC_CHECK(S_ISREG(info.st_mode), path.string(), ": not a regular file");
  size_ = static_cast<size_t>(info.st_size);
  if (size_ == 0) return;  // nothing to map, and mmap refuses to
  void* data = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.fd, 0);
  if (data == MAP_FAILED) fail_errno(path, "cannot map");
  data_ = static_cast<const std::byte*>(data);
}

MappedFile::~MappedFile() {
  if (data_) ::munmap(const_cast<std::byte*>(data_), size_);
}

AtomicFile::AtomicFile(const std::filesystem::path& path) : path_(path), temporary_(path.string() + ".tmp") {
  std::error_code ignored;  // a rename would replace a device or a pipe, and cannot replace a folder
  UVIC_CHECK(!std::filesystem::exists(path, ignored) || std::filesystem::is_regular_file(path, ignored), path.string(),
             ": cannot write: something other than a file has this name");
  file_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (file_ < 0) fail_errno(path_, "cannot write");
}

AtomicFile::~AtomicFile() {
  if (file_ >= 0) ::close(file_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::write(const void* data, size_t bytes) {
  auto* p = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t n =
        ::write(file_, p, std::min<size_t>(bytes, size_t{1} << 30));  // Linux takes 2 GB at most in a call
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_errno(path_, "cannot write");
    p += n;
    bytes -= static_cast<size_t>(n);
  }
}

void AtomicFile::commit() {
  if (::fsync(file_) != 0) fail_errno(path_, "cannot write");
  if (::close(std::exchange(file_, -1)) != 0) fail_errno(path_, "cannot write");
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail_errno(path_, "cannot rename the new file to this name");
  temporary_.clear();
  sync_folder(path_.has_parent_path() ? path_.parent_path() : ".");
}

void sync_folder(const std::filesystem::path& folder) {
  const Descriptor file{::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (file.fd < 0) fail_errno(folder, "cannot open");
  // Some network and FUSE file systems have no such call for folders; there is nothing better to do on them.
  if (::fsync(file.fd) != 0 && errno != EINVAL && errno != ENOTSUP) fail_errno(folder, "cannot sync");
}

}  // namespace uvic
