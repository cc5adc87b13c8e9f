#include "model/store_parts.h"

#include <algorithm>

namespace uvic {

FlatPart FlatPart::overlap(FlatPart other) const {
  const int64_t first = std::max(begin, other.begin);
  return {first, std::max(first, std::min(end, other.end))};
}

FlatPart part_of(int64_t size, int index, int count) {
  const int64_t lines = (size + kFlatAlign - 1) / kFlatAlign, each = (lines + count - 1) / count * kFlatAlign;
  return {index * each, (index + 1) * each};
}

}  // namespace uvic
