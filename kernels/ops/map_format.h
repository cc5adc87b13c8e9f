#pragma once

#include <cstdint>

namespace uvic {

// How the numbers of a feature map are kept: see feature_map.h.
enum class MapFormat : uint8_t { f32, split, bf16 };

}  // namespace uvic
