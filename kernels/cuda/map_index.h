#pragma once

#include "kernels/core/host_device.h"
#include "kernels/ops/feature_map.h"

namespace uvic::cuda {

// Where the numbers of a view of a feature map lie, from the begin of the map's data on.
struct MapIndex {
  int64_t B, h, w;
  int64_t row, image, origin, pitch, first;

  UVIC_HD int64_t at(int64_t n, int64_t i, int64_t j) const {
    return (origin + n * image + i * row + j) * pitch + first;
  }
  // Whether pixel p of the data is one of an image, and not one of a gap.
  UVIC_HD bool is_inside(int64_t p) const {
    const int64_t q = p - origin;
    return q >= 0 && q / image < B && q % image / row < h && q % row < w;
  }
};
inline MapIndex index_of(const FeatureMap& m) {
  return {m.B, m.h, m.w, m.row(), m.image(), m.origin(), m.pitch(), m.first};
}

// Of B h w parts pieces of work, the t-th: which part of what is done for pixel (i, j) of image n.
struct Place {
  int64_t n, i, j, part;
};
UVIC_HD inline Place place(int64_t t, int64_t h, int64_t w, int64_t parts) {
  const int64_t pixel = t / parts, line = pixel / w;
  return {line / h, line % h, pixel % w, t % parts};
}

// Everything that the windows of a convolution read of x, as a tensor [B, h, w, C] that needs no padding: pixel (r, c)
// of it is (r + top, c + left) of x.
struct Reach {
  int64_t h, w, top, left;
};
inline Reach reach_of(const Window& g, const FeatureMap& y) {
  return {(y.h - 1) * g.stride + g.kh, (y.w - 1) * g.stride + g.kw, -g.pad_h, -g.pad_w};
}
// Whether that tensor lies in the map of x as it is: rows and images follow each other, and all channels belong to it.
// At stride 1 the map's gaps, or in a range of rows its neighbours, stand where x ends; at another, zeros have to.
inline bool is_in_place(const FeatureMap& x, const Reach& r, int64_t C, int64_t stride) {
  const bool rows = r.w == x.row() && -r.left == x.gap_w, images = x.B == 1 || r.h * x.row() == x.image();
  return x.first == 0 && x.pitch() == C && rows && images && (stride == 1 || (r.top == 0 && r.h <= x.h));
}

}  // namespace uvic::cuda
