#pragma once

#include <span>

#include "kernels/ops/feature_map.h"

namespace uvic {

// Filters [M, C, kh, kw] and their bias in the order in which the backend reads them, for weights that stay as they
// are.
struct PackedConv {
  OwnedTensor w, b;
  int64_t M = 0, C = 0, kh = 0, kw = 0;
  MapFormat format = MapFormat::f32;  // of the maps that it goes with
};
// w [M, C, kh, kw] f32; b [M] f32, or empty for 0; also for a GPU, both may lie in the host's memory. For Contexts of
// ctx's device and instruction set, and maps of the format that dtype asks for, only.
PackedConv pack_conv(Context& ctx, Tensor w, Tensor b, DType dtype = DType::f32);

// y = relu(conv(x, w) + b), or without relu; with add, what y held is added before. Sums in f32.
struct ConvBranch {
  const PackedConv* w = nullptr;
  bool relu = true;
  FeatureMap y;
  bool add = false;
};
struct MapConvArgs {
  FeatureMap x;
  int64_t stride = 1, pad_h = 0, pad_w = 0;  // see Window
};
// Every branch reads x with the same filter size; all of them together are one pass over x. Overwrites the branches' y,
// which have x's format, their filters' M channels and one size, but may differ in gaps, and are other maps than x.
// stride is 1 or 2; at stride 1 the gaps of x are at least as wide as the window reaches out of it on any side. Where
// C, rounded up to 16, is not a multiple of 32, x has all channels of its map, and no image behind it that was not
// written yet: what lies behind a window is then read, and multiplied by zero; and at stride 2 a filter has one column.
//
// Error: in f32 that of summation. In split form each product is hi hi + hi lo + lo hi, so it lacks lo lo and what the
// parts do not hold, together at most 2^-15 of it. A trained InceptionV3 ends 1.5e-5 of its largest feature away from
// f64 (in f32: 1e-6). In bf16 each result is rounded to it once; on a GPU that may be after its sum was.
void map_conv(Context& ctx, const MapConvArgs& a, std::span<const ConvBranch> branches);

}  // namespace uvic
