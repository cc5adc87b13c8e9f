#include "model/io/finite.h"

#include <algorithm>
#include <cstring>

namespace uvic {
namespace {

// exponent: the bits of it, which are all ones in what is not finite. Their largest is taken of all numbers, without an
// early way out: that becomes vectors, and a caption of 59,136 numbers takes 3 us and not 75.
template <class Word>
bool none_full(Tensor t, Word exponent) {
  const auto* bytes = static_cast<const char*>(t.raw());
  const int64_t n = t.numel();
  Word largest = 0;
  for (int64_t i = 0; i < n; ++i) {
    Word x;
    std::memcpy(&x, bytes + static_cast<size_t>(i) * sizeof x, sizeof x);
    largest = std::max(largest, static_cast<Word>(x & exponent));
  }
  return largest != exponent;
}

}  // namespace

bool all_finite(Tensor t) {
  switch (t.dtype()) {
    case DType::f64: return none_full<uint64_t>(t, 0x7ff0000000000000u);
    case DType::f32: return none_full<uint32_t>(t, 0x7f800000u);
    case DType::bf16: return none_full<uint16_t>(t, 0x7f80u);
    case DType::f16: return none_full<uint16_t>(t, 0x7c00u);
    default: return true;
  }
}

}  // namespace uvic
