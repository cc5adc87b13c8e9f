#include "app/data/byte_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "kernels/core/error.h"

namespace uvic {

ByteFile::ByteFile(const std::filesystem::path& path, Access access)
    // Non-blocking, or opening a named pipe would wait for its writer for ever.
    : path_(path), file_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
  struct stat info {};
  const int error = file_ < 0 || ::fstat(file_, &info) != 0 ? errno : 0;
  const bool regular = error == 0 && S_ISREG(info.st_mode);
  if (!regular && file_ >= 0) ::close(file_);
  UVIC_CHECK(error == 0, path.string(), ": cannot open: ", std::strerror(error));
  UVIC_CHECK(regular, path.string(), ": not a regular file");
  size_ = info.st_size;
  if (access == Access::sequential) ::posix_fadvise(file_, 0, 0, POSIX_FADV_SEQUENTIAL);
}

ByteFile::~ByteFile() { ::close(file_); }

std::vector<uint8_t> ByteFile::read(int64_t offset, int64_t size) const {
  if (size < 0) size = size_ - offset;
  UVIC_CHECK(offset >= 0 && size >= 0 && size <= size_ - offset, path_.string(), ": bytes ", offset, " to ",
             offset + size, " wanted, the file has ", size_);
  std::vector<uint8_t> bytes(static_cast<size_t>(size));
  for (int64_t done = 0; done < size;) {
    const ssize_t n =
        ::pread(file_, &bytes[static_cast<size_t>(done)], static_cast<size_t>(size - done), offset + done);
    if (n < 0 && errno == EINTR) continue;
    UVIC_CHECK(n > 0, path_.string(), ": cannot read: ", n < 0 ? std::strerror(errno) : "the file became shorter");
    done += n;
  }
  return bytes;
}

}  // namespace uvic
