#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "model/io/npy.h"
#include "model/io/safetensors.h"
#include "model/io/zip.h"

namespace uvic {

// NumPy's .npz: a zip of .npy files. Host tensors of dtype u8, i32, i64, f32 or f64, C order, stored uncompressed as
// np.savez does; written to path + ".tmp", then synced and renamed: path is the old file or the whole new one. Throws
// Error naming path, and if that is no file that may be replaced.
void write_npz(const std::filesystem::path& path, const std::vector<NamedTensor>& arrays);

// An .npz for reading, compressed or not. Errors start with the path.
class NpzFile {
 public:
  explicit NpzFile(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  const std::vector<std::string>& names() const { return names_; }  // without ".npy", in the order of the directory
  bool contains(const std::string& name) const;

  // A whole array, as npy_elements gives it. Throws too if there is none of that name, or it is larger than max_bytes.
  OwnedTensor read(const std::string& name, uint64_t max_bytes = uint64_t{1} << 32) const;
  // An array from front to end: its header, and the stream of its elements.
  struct Stream {
    NpyHeader header;
    ZipFile::Stream data;
  };
  Stream open(const std::string& name) const;

 private:
  std::filesystem::path path_;
  ZipFile zip_;
  std::vector<std::string> names_;
};

}  // namespace uvic
