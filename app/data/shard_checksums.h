#pragma once

#include <string>
#include <vector>

#include "model/io/safetensors.h"

namespace uvic {

// CRC-32 (zlib's) of each tensor's bytes, as a JSON object by name.
std::string checksums_of(const std::vector<NamedTensor>& tensors);

// The tensors of file that differ from such sums, or that these do not name, and those that are not there any more.
std::vector<std::string> changed_tensors(const SafetensorsFile& file, const std::string& sums);

}  // namespace uvic
