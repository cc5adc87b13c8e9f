#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace uvic {

// Visits the chunks of a PNG up to and including IEND. Throws Error, starting with name, if the signature, IHDR, IDAT
// or IEND is missing, a length reaches beyond the bytes, or the CRC of a critical chunk is wrong (of any chunk, if
// strict).
void walk_png(std::span<const uint8_t> bytes, const std::string& name, bool strict,
              const std::function<void(std::string_view type, std::span<const uint8_t> data)>& visit = {});

}  // namespace uvic
