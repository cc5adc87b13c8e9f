#pragma once

#include <filesystem>
#include <vector>

#include "model/io/safetensors.h"

namespace uvic {

// What torch.save makes of a dict of NumPy arrays, such as the statistics that torch-fidelity keeps: a zip archive with
// one pickle and no tensors of PyTorch's.

// Whether path is such a file, by what the archive holds; false for any other file. Throws Error if a zip archive is
// damaged.
bool is_torch_arrays(const std::filesystem::path& path);

struct NamedArray {
  std::string name;
  OwnedTensor array;
};
// Read as npy_objects.h says: nothing is executed. Throws Error starting with the path.
std::vector<NamedArray> read_torch_arrays(const std::filesystem::path& path);

// Host tensors of dtype u8, f32 or f64, as torch.load reads them with NumPy 1 or 2; otherwise as write_npz.
void write_torch_arrays(const std::filesystem::path& path, const std::vector<NamedTensor>& arrays);

}  // namespace uvic
