#include <fcntl.h>
#include <unistd.h>
#include <zip.h>

#include <memory>

#include "model/io/file.h"
#include "model/io/zip.h"

namespace uvic {
namespace fs = std::filesystem;
namespace {

struct Discard {
  void operator()(zip_t* zip) const { zip_discard(zip); }
};

// A file that is not there any more when this object ends, whatever happened.
struct Temporary {
  fs::path path;
  ~Temporary() { ::unlink(path.c_str()); }
  void sync() const {
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0) fail_errno(path, "cannot open");
    const bool synced = ::fsync(file) == 0;
    ::close(file);
    if (!synced) fail_errno(path, "cannot write");
  }
};

}  // namespace

void write_zip(const fs::path& path, const std::vector<ZipContent>& contents) {
  UVIC_CHECK(!fs::exists(path) || fs::is_regular_file(path), path.string(),
             ": cannot be written: something other than a file has this name");  // a rename would replace a device
  const Temporary temporary{path.string() + ".tmp"};
  int code = 0;
  std::unique_ptr<zip_t, Discard> zip(zip_open(temporary.path.c_str(), ZIP_CREATE | ZIP_TRUNCATE, &code));
  if (!zip) fail_errno(path, "cannot be written");
  const auto require = [&](bool ok) {
    UVIC_CHECK(ok, path.string(), ": cannot be written: ", zip_strerror(zip.get()));
  };
  for (const ZipContent& c : contents) {  // libzip reads them when it closes
    zip_source_t* source = zip_source_buffer(zip.get(), c.bytes.data(), c.bytes.size(), 0);
    require(source != nullptr);
    const zip_int64_t index = zip_file_add(zip.get(), c.name.c_str(), source, ZIP_FL_ENC_UTF_8);
    if (index < 0) zip_source_free(source);
    require(index >= 0);
    require(zip_set_file_compression(zip.get(), static_cast<zip_uint64_t>(index), ZIP_CM_STORE, 0) == 0);
  }
  require(zip_close(zip.get()) == 0);
  (void)zip.release();
  temporary.sync();
  std::error_code error;
  fs::rename(temporary.path, path, error);
  UVIC_CHECK(!error, path.string(), ": cannot be written: ", error.message());
  sync_folder(path.parent_path().empty() ? fs::path(".") : path.parent_path());
}

}  // namespace uvic
