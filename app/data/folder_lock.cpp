#include "app/data/folder_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <system_error>
#include <utility>

#include "kernels/core/error.h"
#include "model/io/file.h"

namespace uvic {
namespace {

// Whether the open file still has this name: the holder before may have removed it between our open and our lock.
bool still_named(int file, const std::filesystem::path& path) {
  struct stat ours {
  }, named{};
  return ::fstat(file, &ours) == 0 && ::stat(path.c_str(), &named) == 0 && ours.st_ino == named.st_ino &&
         ours.st_dev == named.st_dev;
}

}  // namespace

FolderLock::FolderLock(const std::filesystem::path& folder, const std::string& kind)
    : path_(folder / (kind + ".lock")) {
  while (file_ < 0) {
    file_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (file_ < 0) fail_errno(path_, "cannot open");
    const bool locked = ::flock(file_, LOCK_EX | LOCK_NB) == 0;
    const int error = locked ? 0 : errno;
    if (locked && still_named(file_, path_)) break;
    ::close(std::exchange(file_, -1));
    if (error == EWOULDBLOCK) {
      std::string process;
      std::getline(std::ifstream(path_), process);
      throw Error(concat(folder.string(), ": process ", process.empty() ? "?" : process, " is writing into it"),
                  "wait until it ends, or choose another folder");
    }
    UVIC_CHECK(error == 0 || error == EINTR, path_.string(), ": cannot lock: ", std::generic_category().message(error));
  }
  const std::string id = std::to_string(::getpid()) + "\n";
  // A full disk is for those to say who write what matters: the lock holds without a number in it.
  if (::ftruncate(file_, 0) == 0) (void)!::write(file_, id.data(), id.size());
}

FolderLock::~FolderLock() {
  ::unlink(path_.c_str());  // while it is locked: who comes now makes a new one
  ::close(file_);
}

}  // namespace uvic
