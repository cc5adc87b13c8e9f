#pragma once

#include <cstdint>

namespace uvic {

enum class AttentionKind : uint8_t { softmax, cog, expressive };

inline const char* name_of(AttentionKind kind) {
  return kind == AttentionKind::softmax ? "softmax" : kind == AttentionKind::cog ? "cog" : "expressive";
}

}  // namespace uvic
