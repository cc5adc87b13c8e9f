#pragma once

#include <cstdint>

#include "kernels/cpu/simd/feature_map.h"

namespace uvic::cpu {

// A convolution as a product: each tile of sixteen pixels, as rows, by each panel of 32 filters, as columns. The inner
// dimension runs in steps of 32 over the taps and their channels. Since a tap is one constant distance from any pixel,
// a step of a tile is sixteen rows of 32 neighbouring numbers, pitch apart, wherever the tile lies in the map.
constexpr int64_t kTilePixels = 16, kConvPanel = 32, kConvStep = 32;

// What one branch makes of a tile's sums.
struct ConvOutput {
  const void* w;  // [panels][steps], each step 32 x 32: f32 rows of 32 filters, or AMX tiles, 2 of hi, 2 of lo if split
  const float* b;  // [panels * 32]
  MapNumbers y;    // at its first channel
  int64_t y_pitch;
  int64_t columns;    // filters, rounded up to 16
  const int32_t* to;  // [tiles, 16] pixel of y for each row, or -1: the row has none
  bool relu;
  bool add;  // to what y holds
};

struct ConvWork {
  MapNumbers x;
  int64_t pitch;           // numbers between the pixels of x
  const int64_t* starts;   // [tiles] first pixel of each, in numbers of x
  int64_t begin, end;      // tiles to do; as many as make pairs
  const int64_t* offsets;  // [steps] from a pixel to where each step begins
  int64_t steps;
  const ConvOutput* outputs;
  int64_t count;  // of outputs
};

using MapConv = void (*)(const ConvWork& work);

namespace avx2 {
extern const MapConv map_conv;
}
namespace avx512 {
extern const MapConv map_conv;
}
namespace amx {
extern const MapConv map_conv;
}

}  // namespace uvic::cpu
