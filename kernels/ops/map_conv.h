#pragma once

#include <span>

#include "kernels/ops/feature_map.h"

namespace uvic {

// Filters [M, C, kh, kw] and their bias in the order in which the backend reads them, for weights that stay as they
// are.
struct PackedConv {
  OwnedTensor w, b;
  int64_t M = 0, C = 0, kh = 0, kw = 0;
};
// w [M, C, kh, kw] f32; b [M] f32, or empty for 0. For Contexts of ctx's instruction set only.
PackedConv pack_conv(Context& ctx, Tensor w, Tensor b);

// y = relu(conv(x, w) + b), or without relu. Sums in f32.
struct ConvBranch {
  const PackedConv* w = nullptr;
  bool relu = true;
  FeatureMap y;
};
struct MapConvArgs {
  FeatureMap x;
  int64_t stride = 1, pad_h = 0, pad_w = 0;  // see Window
};
// Every branch reads x with the same filter size; all of them together are one pass over x. Overwrites the branches' y,
// which have x's format, their filters' M channels and one size, but may differ in gaps. stride is 1 or 2; at stride 1
// the gaps of x are at least as wide as the window reaches out of it on any side. x and y are different maps, or ranges
// that do not overlap. Where C is not a multiple of 32 after rounding up to 16, x is a whole map.
//
// Error: in f32 that of summation. In split form each product is hi hi + hi lo + lo hi, so it lacks lo lo and what the
// parts do not hold: 2^-15 of it at most, 7e-6 on average. A trained InceptionV3 ends 1.4e-5 of its largest feature
// away from f64 (f32: 4e-7).
void map_conv(Context& ctx, const MapConvArgs& a, std::span<const ConvBranch> branches);

}  // namespace uvic
