#include "model/io/zip.h"

#include <zip.h>

#include <algorithm>
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

ZipFile::ZipFile(const std::filesystem::path& path) : impl_(std::make_shared<Impl>(path)) {
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

struct ZipFile::Stream::Impl {
  std::shared_ptr<ZipFile::Impl> archive;
  std::string where;
  uint64_t size, done = 0;
  std::unique_ptr<zip_file_t, CloseEntry> file;
};

ZipFile::Stream ZipFile::open(const std::string& name) const {
  zip_t* archive = impl_->archive.get();
  const auto found = impl_->index.find(name);
  UVIC_CHECK(found != impl_->index.end(), impl_->path, ": the archive has no entry ", quote(name));
  const std::string where = impl_->path + ": entry " + quote(name);
  zip_stat_t info;
  UVIC_CHECK(zip_stat_index(archive, found->second, 0, &info) == 0, where, ": ", zip_strerror(archive));
  const bool stored = info.comp_method == ZIP_CM_STORE;
  UVIC_CHECK(stored || info.comp_method == ZIP_CM_DEFLATE, where, ": compression method ", info.comp_method,
             "; only store and deflate can be read");
  Stream stream(std::make_shared<Stream::Impl>());
  *stream.impl_ = {impl_, where, info.size, 0, {}};
  stream.impl_->file.reset(zip_fopen_index(archive, found->second, 0));
  UVIC_CHECK(stream.impl_->file, where, ": ", zip_strerror(archive));
  return stream;
}

void ZipFile::Stream::read(void* to, uint64_t bytes) {
  Impl& s = *impl_;
  for (uint64_t end = s.done + bytes; s.done < end;) {
    const zip_int64_t n = zip_fread(s.file.get(), to, end - s.done);
    UVIC_CHECK(n >= 0, s.where, ": ", zip_file_strerror(s.file.get()));
    UVIC_CHECK(n > 0, s.where, ": cut short: ", s.done, " of ", std::max(end, s.size), " bytes");
    s.done += static_cast<uint64_t>(n);
    to = static_cast<char*>(to) + n;
  }
}

void ZipFile::Stream::skip(uint64_t bytes) {
  std::vector<char> scratch(std::min<uint64_t>(bytes, 64 << 10));
  for (uint64_t left = bytes, n; left > 0; left -= n) {
    n = std::min<uint64_t>(left, scratch.size());
    read(scratch.data(), n);
  }
}

// One byte more than there should be: libzip compares the checksum when it meets the end, and an entry that goes on
// past its size is as wrong as one that is short.
void ZipFile::Stream::expect_end() {
  char extra = 0;
  const zip_int64_t n = zip_fread(impl_->file.get(), &extra, 1);
  UVIC_CHECK(n >= 0, impl_->where, ": ", zip_file_strerror(impl_->file.get()));
  UVIC_CHECK(n == 0, impl_->where, ": holds more than the ", impl_->done, " bytes of its directory entry");
}

Buffer ZipFile::read(const std::string& name, uint64_t max_bytes) const {
  Stream stream = open(name);
  const uint64_t size = stream.impl_->size;
  UVIC_CHECK(size <= max_bytes, stream.impl_->where, ": ", size, " bytes, at most ", max_bytes, " expected");
  Buffer buffer(Device{}, size);
  stream.read(buffer.data(), size);
  stream.expect_end();
  return buffer;
}

bool ZipFile::supported() { return true; }

}  // namespace uvic
