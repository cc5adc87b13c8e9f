#include "model/io/torch_arrays.h"

#include <cstring>
#include <fstream>
#include <string_view>

#include "kernels/core/text.h"
#include "model/io/file.h"
#include "model/io/npy_objects.h"
#include "model/io/zip.h"

namespace uvic {
namespace {

constexpr uint64_t kMaxPickle = uint64_t{1} << 30;  // its text takes up to twice the bytes of the arrays

std::string pickle_name(const ZipFile& zip) {
  for (const ZipFile::Entry& e : zip.entries())
    if (e.name.ends_with("/data.pkl")) return e.name;
  return {};
}

template <class T>
std::string raw(T x) {
  return {reinterpret_cast<const char*>(&x), sizeof x};
}

std::string text(const std::string& s) { return concat('X', raw(static_cast<uint32_t>(s.size())), s); }

// numpy.dtype("f8", False, True) with NumPy's state of it: version 3, byte order, and nothing of records.
std::string pickled_dtype(DType dtype) {
  const char* name = dtype == DType::u8 ? "u1" : dtype == DType::f32 ? "f4" : dtype == DType::f64 ? "f8" : nullptr;
  UVIC_CHECK(name, "write_torch_arrays: an array of ", dtype);
  const std::string minus_one = concat('J', raw(int32_t{-1}));
  return concat("cnumpy\ndtype\n", text(name), "\x89\x88\x87R(K\x03", text(dtype == DType::u8 ? "|" : "<"), "NNN",
                minus_one, minus_one, 'K', '\0', "tb");
}

// _reconstruct(ndarray, (0,), b"b") with the state (1, shape, dtype, Fortran order, data). NumPy 2 still knows its
// older address.
std::string pickled_array(const Tensor& t) {
  UVIC_CHECK(t.bytes() < uint64_t{1} << 32, "write_torch_arrays: an array of ", t.bytes(), " bytes");
  std::string shape;
  for (const int64_t d : t.shape()) shape += concat("\x8a\x08", raw(d));
  return concat("cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK", '\0', "\x85", "C\x01", "b\x87R(K\x01(",
                shape, 't', pickled_dtype(t.dtype()), "\x89", 'B', raw(static_cast<uint32_t>(t.bytes())),
                std::string_view(static_cast<const char*>(t.raw()), t.bytes()), "tb");
}

}  // namespace

bool is_torch_arrays(const std::filesystem::path& path) {
  char start[2] = {};
  if (!std::ifstream(path, std::ios::binary).read(start, 2) || std::memcmp(start, "PK", 2) != 0) return false;
  const ZipFile zip(path);
  for (const ZipFile::Entry& e : zip.entries())
    if (e.name.find("/data/") != std::string::npos) return false;  // the elements of a tensor
  return !pickle_name(zip).empty();
}

std::vector<NamedArray> read_torch_arrays(const std::filesystem::path& path) {
  const ZipFile zip(path);
  const std::string name = pickle_name(zip);
  UVIC_CHECK(!name.empty(), path.string(), ": a zip archive without a data.pkl: not a file that torch.save wrote");
  const Buffer pickle = zip.read(name, kMaxPickle);
  std::vector<NamedArray> arrays;
  for (auto& [key, array] :
       read_pickled_arrays({static_cast<const std::byte*>(pickle.data()), pickle.size()}, path.string()))
    arrays.push_back({key, std::move(array)});
  return arrays;
}

void write_torch_arrays(const std::filesystem::path& path, const std::vector<NamedTensor>& arrays) {
  std::string pickle = "\x80\x03}(";
  for (const NamedTensor& a : arrays) pickle += text(a.name) + pickled_array(a.tensor);
  pickle += "u.";
  std::vector<ZipContent> contents;
  contents.push_back({"archive/data.pkl", std::move(pickle)});
  contents.push_back({"archive/byteorder", "little"});
  contents.push_back({"archive/version", "3\n"});
  write_zip(path, contents);
}

}  // namespace uvic
