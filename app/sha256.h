#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

namespace uvic {

// SHA-256 (FIPS 180-4) in lower-case hexadecimal digits.
std::string sha256(std::span<const std::byte> bytes);
std::string sha256_of_file(const std::filesystem::path& path);  // throws Error naming path if it cannot be read

}  // namespace uvic
