#pragma once

#include <filesystem>
#include <vector>

#include "model/io/safetensors.h"

namespace uvic {

// NumPy's .npz: a zip of .npy files. Host tensors of dtype u8, i32, i64, f32 or f64, C order, stored uncompressed as
// np.savez does; written to path + ".tmp", then renamed. Throws Error naming path.
void write_npz(const std::filesystem::path& path, const std::vector<NamedTensor>& arrays);

}  // namespace uvic
