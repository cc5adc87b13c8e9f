#include "app/data/tar.h"

#include <archive.h>
#include <archive_entry.h>

#include <memory>

#include "kernels/core/error.h"

namespace uvic {
namespace {

constexpr int64_t kRecord = 512;

struct Close {
  void operator()(archive* a) const { archive_read_free(a); }
};

}  // namespace

// libarchive reads the headers and says how far into the file each leaves it: there the entry's contents begin.
std::vector<TarEntry> read_tar_index(const std::filesystem::path& path) {
  std::error_code absent;  // libarchive says so; of a named pipe it would wait for the writer
  UVIC_CHECK(std::filesystem::is_regular_file(path, absent) || absent, path.string(), ": not a regular file");
  const std::unique_ptr<archive, Close> tar(archive_read_new());
  archive_read_support_format_tar(tar.get());
  const auto fail_with = [&](const char* what) {
    const char* why = archive_error_string(tar.get());
    fail(path.string(), ": ", what, why ? ": " : "", why ? why : "");
  };
  constexpr size_t kBlock = 64 << 10;
  if (archive_read_open_filename(tar.get(), path.c_str(), kBlock) != ARCHIVE_OK)
    fail_with("not an uncompressed tar file");
  const auto end = static_cast<int64_t>(std::filesystem::file_size(path));
  std::vector<TarEntry> entries;
  int64_t contents_end = 0;
  for (archive_entry* entry = nullptr;;) {
    const int status = archive_read_next_header(tar.get(), &entry);
    if (status == ARCHIVE_EOF) break;
    if (status != ARCHIVE_OK && status != ARCHIVE_WARN) fail_with("damaged or truncated tar file");
    if (archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink(entry)) continue;
    const int64_t offset = archive_filter_bytes(tar.get(), 0), size = archive_entry_size(entry);
    const char* name = archive_entry_pathname_utf8(entry);  // null where the bytes are not UTF-8
    if (!name) name = archive_entry_pathname(entry);
    UVIC_CHECK(name, path.string(), ": a name in the tar file is not valid text, at byte ", offset);
    UVIC_CHECK(size >= 0 && size <= end - offset, path.string(), ": truncated tar file: ", name, " should have ", size,
               " bytes");
    entries.push_back({name, offset, size});
    contents_end = (offset + size + kRecord - 1) / kRecord * kRecord;
  }
  // libarchive takes a file cut between two entries for a whole one; every tar writer ends with zero records.
  UVIC_CHECK(contents_end + kRecord <= end, path.string(), ": truncated tar file: it has no end mark");
  return entries;
}

}  // namespace uvic
