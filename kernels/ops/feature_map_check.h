#pragma once

// For kernels/ops/*.cpp only, as check.h.

#include "kernels/ops/feature_map.h"

namespace uvic {

inline void check_map(const char* op, const char* name, const FeatureMap& m) {
  UVIC_CHECK(!m.data.empty(), op, ": ", name, " is empty, wanted a feature map");
  UVIC_CHECK(
      m.first >= 0 && m.channels > 0 && m.first + m.channels <= m.pitch() && m.pixels() >= m.origin() + m.B * m.image(),
      op, ": ", name, " is no view of a feature map: ", Shape{m.B, m.h, m.w, m.channels}, " in ", m.data.shape());
  UVIC_CHECK(m.first % 16 == 0, op, ": ", name, " begins at channel ", m.first, ", wanted a multiple of 16");
}

}  // namespace uvic
