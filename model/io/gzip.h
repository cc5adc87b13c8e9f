#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

namespace uvic {

// A whole file, unpacked if it is a gzip: told by content. Throws Error naming it if it cannot be read, is cut short or
// damaged, or holds more than max_bytes (before more than that is taken).
std::string read_maybe_gzip(const std::filesystem::path& path, size_t max_bytes);

}  // namespace uvic
