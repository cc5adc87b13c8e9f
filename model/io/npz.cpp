#include "model/io/npz.h"

#include <cstring>

#include "kernels/core/text.h"

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
  std::vector<ZipContent> contents;
  for (const NamedTensor& a : arrays) {
    std::string bytes = npy_header(a.tensor);
    bytes.append(static_cast<const char*>(a.tensor.raw()), a.tensor.bytes());
    contents.push_back({a.name + kExtension, std::move(bytes)});
  }
  write_zip(path, contents);
}

}  // namespace uvic
