#include "app/data/tar_writer.h"

#include <archive.h>
#include <archive_entry.h>
#include <sys/stat.h>

#include "kernels/core/error.h"
#include "model/io/file.h"

namespace uvic {

struct TarWriter::Impl {
  explicit Impl(const std::filesystem::path& p) : path(p), file(p), tar(archive_write_new()) {
    archive_write_set_format_pax_restricted(tar);
    archive_write_set_bytes_per_block(tar, 1 << 20);
    archive_write_set_bytes_in_last_block(tar, 1);  // no padding up to a whole block
    check(archive_write_open(tar, this, nullptr, write, nullptr));
  }
  ~Impl() {
    unwanted = true;  // archive_write_fail() instead would leak libarchive's buffer
    archive_write_free(tar);
  }

  // A C library calls this: an exception waits here until check() can throw it.
  static la_ssize_t write(archive*, void* self, const void* data, size_t bytes) {
    auto* impl = static_cast<Impl*>(self);
    if (impl->unwanted) return static_cast<la_ssize_t>(bytes);
    try {
      impl->file.write(data, bytes);
      return static_cast<la_ssize_t>(bytes);
    } catch (const std::exception& e) {
      impl->error = e.what();
      return -1;
    }
  }

  void check(int status) const {
    UVIC_CHECK(error.empty(), error);
    if (status >= ARCHIVE_WARN) return;
    const char* why = archive_error_string(tar);
    fail(path.string(), ": cannot write: ", why ? why : "libarchive gave no reason");
  }

  std::filesystem::path path;
  AtomicFile file;
  archive* tar;
  std::string error;
  bool unwanted = false;  // what is still written: nobody will commit it
  int64_t bytes = 0;
};

TarWriter::TarWriter(const std::filesystem::path& path) : impl_(std::make_unique<Impl>(path)) {}
TarWriter::~TarWriter() = default;

void TarWriter::add(const std::string& name, std::span<const uint8_t> contents) {
  const std::unique_ptr<archive_entry, void (*)(archive_entry*)> entry(archive_entry_new(), archive_entry_free);
  archive_entry_set_pathname(entry.get(), name.c_str());
  archive_entry_set_filetype(entry.get(), AE_IFREG);
  archive_entry_set_perm(entry.get(), 0644);
  archive_entry_set_size(entry.get(), static_cast<la_int64_t>(contents.size()));
  impl_->check(archive_write_header(impl_->tar, entry.get()));
  const la_ssize_t written = archive_write_data(impl_->tar, contents.data(), contents.size());
  impl_->check(written < 0 ? ARCHIVE_FATAL : ARCHIVE_OK);
  constexpr int64_t kRecord = 512;
  impl_->bytes += kRecord + (static_cast<int64_t>(contents.size()) + kRecord - 1) / kRecord * kRecord;
}

int64_t TarWriter::bytes() const { return impl_->bytes; }

void TarWriter::commit() {
  impl_->check(archive_write_close(impl_->tar));
  impl_->file.commit();
}

}  // namespace uvic
