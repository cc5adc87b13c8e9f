#include "model/io/npz.h"

#include <fcntl.h>
#include <unistd.h>
#include <zip.h>

#include <cstring>
#include <memory>

#include "kernels/core/text.h"
#include "model/io/file.h"

namespace uvic {
namespace fs = std::filesystem;
namespace {

// NumPy's format 1.0: magic, version, header length, a Python dict padded so that the data starts at a multiple of 64.
std::string npy_header(const Tensor& t) {
  const char* descr = t.dtype() == DType::u8    ? "|u1"
                      : t.dtype() == DType::i32 ? "<i4"
                      : t.dtype() == DType::i64 ? "<i8"
                      : t.dtype() == DType::f32 ? "<f4"
                      : t.dtype() == DType::f64 ? "<f8"
                                                : nullptr;
  UVIC_CHECK(descr, "write_npz: an array of ", t.dtype());
  std::string dict = concat("{'descr': '", descr, "', 'fortran_order': False, 'shape': (");
  for (const int64_t d : t.shape()) dict += std::to_string(d) + ",";
  dict += "), }";
  constexpr size_t kPrefix = 10;
  dict.append(63 - (kPrefix + dict.size()) % 64, ' ');
  dict += '\n';
  std::string header("\x93NUMPY\x01\x00", 8);
  header += static_cast<char>(dict.size() & 0xff);
  header += static_cast<char>(dict.size() >> 8);
  return header + dict;
}

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

constexpr const char* kExtension = ".npy";

}  // namespace

NpzFile::NpzFile(const fs::path& path) : path_(path), zip_(path) {
  for (const ZipFile::Entry& entry : zip_.entries())
    if (entry.name.ends_with(kExtension))
      names_.push_back(entry.name.substr(0, entry.name.size() - std::strlen(kExtension)));
}

bool NpzFile::contains(const std::string& name) const { return zip_.find(name + kExtension) != nullptr; }

OwnedTensor NpzFile::read(const std::string& name, uint64_t max_bytes) const {
  UVIC_CHECK(contains(name), path_.string(), ": has no array ", quote(name));
  const Buffer bytes = zip_.read(name + kExtension, max_bytes);
  return read_npy({static_cast<const std::byte*>(bytes.data()), bytes.size()}, path_.string() + ": " + name);
}

NpzFile::Stream NpzFile::open(const std::string& name) const {
  UVIC_CHECK(contains(name), path_.string(), ": has no array ", quote(name));
  ZipFile::Stream data = zip_.open(name + kExtension);
  const NpyHeader header =
      read_npy_header([&](void* to, size_t bytes) { data.read(to, bytes); }, path_.string() + ": " + name);
  return {header, std::move(data)};
}

void write_npz(const fs::path& path, const std::vector<NamedTensor>& arrays) {
  UVIC_CHECK(!fs::exists(path) || fs::is_regular_file(path), path.string(),
             ": cannot be written: something other than a file has this name");  // a rename would replace a device
  const Temporary temporary{path.string() + ".tmp"};
  int code = 0;
  std::unique_ptr<zip_t, Discard> zip(zip_open(temporary.path.c_str(), ZIP_CREATE | ZIP_TRUNCATE, &code));
  if (!zip) fail_errno(path, "cannot be written");
  const auto require = [&](bool ok) {
    UVIC_CHECK(ok, path.string(), ": cannot be written: ", zip_strerror(zip.get()));
  };
  std::vector<std::vector<char>> contents;  // libzip reads them when it closes
  for (const NamedTensor& a : arrays) {
    const std::string header = npy_header(a.tensor);
    std::vector<char>& bytes = contents.emplace_back(header.size() + a.tensor.bytes());
    std::memcpy(bytes.data(), header.data(), header.size());
    std::memcpy(bytes.data() + header.size(), a.tensor.raw(), a.tensor.bytes());
    zip_source_t* source = zip_source_buffer(zip.get(), bytes.data(), bytes.size(), 0);
    require(source != nullptr);
    const zip_int64_t index = zip_file_add(zip.get(), (a.name + ".npy").c_str(), source, ZIP_FL_ENC_UTF_8);
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
