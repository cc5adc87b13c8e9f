#pragma once

// The numbers of a feature map as F32, whatever their format. For files that are compiled once for each instruction set
// (see vec.h).

#include "kernels/cpu/simd/feature_map.h"
#include "kernels/cpu/simd/vec.h"

namespace uvic::cpu::UVIC_ISA {
namespace {

// Every format gives the same values to the loops: what it holds fits a float.
struct Plain {
  float* data;
  explicit Plain(MapNumbers m) : data(static_cast<float*>(m.data)) {}
  UVIC_INLINE F32 get(int64_t at) const { return load(data + at); }
  UVIC_INLINE void set(int64_t at, F32 x) const { store(data + at, x); }
};
struct Half {
  bf16* data;
  explicit Half(MapNumbers m) : data(static_cast<bf16*>(m.data)) {}
  UVIC_INLINE F32 get(int64_t at) const { return load(data + at); }
  UVIC_INLINE void set(int64_t at, F32 x) const { store(data + at, x); }
};
struct Split {
  bf16* hi;
  bf16* lo;
  explicit Split(MapNumbers m) : hi(static_cast<bf16*>(m.data)), lo(hi + m.lo) {}
  UVIC_INLINE F32 get(int64_t at) const { return load(hi + at) + load(lo + at); }
  UVIC_INLINE void set(int64_t at, F32 x) const {
    store(hi + at, x);
    store(lo + at, x - load(hi + at));
  }
};

template <class F>
UVIC_INLINE void with_format(MapNumbers x, const F& f) {
  switch (x.format) {
    case MapFormat::f32: return f(Plain(x));
    case MapFormat::bf16: return f(Half(x));
    case MapFormat::split: return f(Split(x));
  }
}

}  // namespace
}  // namespace uvic::cpu::UVIC_ISA
