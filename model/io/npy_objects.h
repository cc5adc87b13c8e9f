#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "kernels/core/memory.h"

namespace uvic {

// What an .npy holds: one array of numbers; or, if it is one of objects, which NumPy writes as a pickle, its elements:
// arrays of numbers, single numbers, texts. U-ViT's features are (moments, label) and (prompt, context). Pickles are
// read as those of torch files are: a short list of NumPy's constructors is known, anything else is refused, and
// nothing is executed. Errors start with name.
using NpyObject = std::variant<OwnedTensor, std::string>;
std::vector<NpyObject> read_npy_objects(std::span<const std::byte> bytes, const std::string& name);

// The pickle of a dict of arrays, in its order. What is of another type in it is refused.
std::vector<std::pair<std::string, OwnedTensor>> read_pickled_arrays(std::span<const std::byte> bytes,
                                                                     const std::string& name);

}  // namespace uvic
