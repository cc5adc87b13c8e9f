#pragma once

#include "kernels/ops/feature_map.h"

namespace uvic {

// Group norm of feature maps (Wu & He, arXiv 1803.08494), in two steps, so that the normalised map need never exist as
// a whole: norm(x) = scale x + shift, a scale and a shift a channel, which follow from the mean and the biased variance
// of each group of neighbouring channels over all pixels of an image.
struct GroupNormArgs {
  FeatureMap x;
  Tensor w, b;  // [C] f32
  int64_t groups = 32;
  double eps = 1e-6;
};
// Overwrites coefficients [B, 2, C] f32: scale, then shift. C is a multiple of 16 and of groups. Sums in f64; the same
// bits with any number of threads.
void group_norm(Context& ctx, const GroupNormArgs& a, Tensor coefficients);

enum class MapActivation : uint8_t { none, relu, silu };

// y = rows [first, first + y.h) of act(scale x + shift), magnified by `up`: each pixel repeated so often both ways.
// Rows outside of that image are zero: what a convolution pads with. x and y are one image of one format and its
// channels; y has up x.w pixels a row.
struct MapRowsArgs {
  FeatureMap x;
  Tensor coefficients;  // [1, 2, C] by group_norm, and C then a multiple of 16; or empty for 1 and 0
  MapActivation act = MapActivation::none;
  int64_t up = 1;
  int64_t first = 0;
};
// Overwrites y but for its gaps.
void map_rows(Context& ctx, const MapRowsArgs& a, FeatureMap y);

}  // namespace uvic
