// Built instead of zip.cpp and npz.cpp when UVIC_LIBZIP is off: everything links, and a zip archive is an error that
// says why.
#include "kernels/core/error.h"
#include "model/io/npz.h"
#include "model/io/zip.h"

namespace uvic {

struct ZipFile::Impl {};

ZipFile::ZipFile(const std::filesystem::path& path) {
  fail(path.string(), ": a zip archive, and uvic was built without libzip");
}
ZipFile::~ZipFile() = default;
ZipFile::ZipFile(ZipFile&&) noexcept = default;
ZipFile& ZipFile::operator=(ZipFile&&) noexcept = default;

// None of these can be reached: there is no ZipFile.
const std::vector<ZipFile::Entry>& ZipFile::entries() const { fail("built without libzip"); }
const ZipFile::Entry* ZipFile::find(const std::string&) const { fail("built without libzip"); }
Buffer ZipFile::read(const std::string&, uint64_t) const { fail("built without libzip"); }
ZipFile::Stream ZipFile::open(const std::string&) const { fail("built without libzip"); }
void ZipFile::Stream::read(void*, uint64_t) { fail("built without libzip"); }
void ZipFile::Stream::skip(uint64_t) { fail("built without libzip"); }
void ZipFile::Stream::expect_end() { fail("built without libzip"); }

bool ZipFile::supported() { return false; }

void write_zip(const std::filesystem::path& path, const std::vector<ZipContent>&) {
  fail(path.string(), ": a zip archive, and uvic was built without libzip");
}

NpzFile::NpzFile(const std::filesystem::path& path) : zip_(path) {}
bool NpzFile::contains(const std::string&) const { return false; }
OwnedTensor NpzFile::read(const std::string&, uint64_t) const { fail("built without libzip"); }
NpzFile::Stream NpzFile::open(const std::string&) const { fail("built without libzip"); }

void write_npz(const std::filesystem::path& path, const std::vector<NamedTensor>&) {
  fail(path.string(), ": an .npz is a zip archive, and uvic was built without libzip");
}

}  // namespace uvic
