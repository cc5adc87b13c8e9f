#include "model/io/zip.h"

#include <zip.h>

#include <unordered_map>

#include "kernels/core/error.h"
#include "kernels/core/text.h"

namespace uvic {
namespace {

struct CloseArchive {
  void operator()(zip_t* archive) const { zip_discard(archive); }  // nothing was written, so nothing can fail
};
struct CloseEntry {
  void operator()(zip_file_t* file) const { zip_fclose(file); }
};

zip_t* open_archive(const std::filesystem::path& path) {
  int code = 0;
  zip_t* archive = zip_open(path.c_str(), ZIP_RDONLY, &code);
  if (archive) return archive;
  zip_error_t error;
  zip_error_init_with_code(&error, code);
  const std::string why = zip_error_strerror(&error);
  zip_error_fini(&error);
  fail(path.string(), ": cannot open as a zip archive: ", why);
}

}  // namespace

struct ZipFile::Impl {
  explicit Impl(const std::filesystem::path& p) : path(p.string()), archive(open_archive(p)) {}

  std::string path;
  std::unique_ptr<zip_t, CloseArchive> archive;
  std::vector<Entry> entries;
  std::unordered_map<std::string, size_t> index;
};

ZipFile::ZipFile(const std::filesystem::path& path) : impl_(std::make_unique<Impl>(path)) {
  zip_t* archive = impl_->archive.get();
  const auto n = static_cast<zip_uint64_t>(zip_get_num_entries(archive, 0));
  for (zip_uint64_t i = 0; i < n; ++i) {
    zip_stat_t info;
    UVIC_CHECK(zip_stat_index(archive, i, ZIP_FL_ENC_RAW, &info) == 0 && (info.valid & ZIP_STAT_NAME) &&
                   (info.valid & ZIP_STAT_SIZE),
               impl_->path, ": entry ", i, " of the zip archive is damaged");
    UVIC_CHECK(impl_->index.emplace(info.name, i).second, impl_->path, ": two entries are named ", quote(info.name));
    impl_->entries.push_back({info.name, info.size});
  }
}

ZipFile::~ZipFile() = default;
ZipFile::ZipFile(ZipFile&&) noexcept = default;
ZipFile& ZipFile::operator=(ZipFile&&) noexcept = default;

const std::vector<ZipFile::Entry>& ZipFile::entries() const { return impl_->entries; }

const ZipFile::Entry* ZipFile::find(const std::string& name) const {
  const auto found = impl_->index.find(name);
  return found == impl_->index.end() ? nullptr : &impl_->entries[found->second];
}

Buffer ZipFile::read(const std::string& name, uint64_t max_bytes) const {
  zip_t* archive = impl_->archive.get();
  const auto found = impl_->index.find(name);
  UVIC_CHECK(found != impl_->index.end(), impl_->path, ": the archive has no entry ", quote(name));
  const auto where = [&] { return impl_->path + ": entry " + quote(name); };

  zip_stat_t info;
  UVIC_CHECK(zip_stat_index(archive, found->second, 0, &info) == 0, where(), ": ", zip_strerror(archive));
  const bool stored = info.comp_method == ZIP_CM_STORE;
  UVIC_CHECK(stored || info.comp_method == ZIP_CM_DEFLATE, where(), ": compression method ", info.comp_method,
             "; only store and deflate can be read");
  UVIC_CHECK(info.size <= max_bytes, where(), ": ", info.size, " bytes, at most ", max_bytes, " expected");

  const std::unique_ptr<zip_file_t, CloseEntry> file(zip_fopen_index(archive, found->second, 0));
  UVIC_CHECK(file, where(), ": ", zip_strerror(archive));
  Buffer buffer(Device{}, info.size);
  size_t done = 0;
  // One byte more than there should be: libzip compares the checksum when it meets the end, and an entry that goes on
  // past its size is as wrong as one that is short.
  char extra = 0;
  for (;;) {
    const bool full = done == buffer.size();
    char* to = full ? &extra : static_cast<char*>(buffer.data()) + done;
    const zip_int64_t n = zip_fread(file.get(), to, full ? 1 : buffer.size() - done);
    UVIC_CHECK(n >= 0, where(), ": ", zip_file_strerror(file.get()));
    if (n == 0) break;
    UVIC_CHECK(!full, where(), ": holds more than the ", info.size, " bytes of its directory entry");
    done += static_cast<size_t>(n);
  }
  UVIC_CHECK(done == buffer.size(), where(), ": cut short: ", done, " of ", buffer.size(), " bytes");
  return buffer;
}

bool ZipFile::supported() { return true; }

}  // namespace uvic
