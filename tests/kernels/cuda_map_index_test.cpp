// The index arithmetic of kernels/cuda's feature maps, on the host.

#include "kernels/cuda/map_index.h"

#include "tests/check.h"

namespace uvic::test {
namespace {

using namespace cuda;

// A map whose channel c of pixel (i, j) of image n is a number of its own, and whose gaps are zero.
struct CountingMap {
  OwnedTensor data;
  FeatureMap map;
  CountingMap(int64_t B, int64_t h, int64_t w, int64_t C, int64_t gap_h, int64_t gap_w) {
    map = {.B = B, .h = h, .w = w, .gap_h = gap_h, .gap_w = gap_w, .channels = C, .sides = 2};
    data = OwnedTensor({}, DType::f32, {map.origin() + B * map.image(), C});
    map.data = data.tensor;
    for (int64_t n = 0; n < B; ++n)
      for (int64_t i = 0; i < h; ++i)
        for (int64_t j = 0; j < w; ++j)
          for (int64_t c = 0; c < C; ++c) data.tensor.data<float>()[index_of(map).at(n, i, j) + c] = number(n, i, j, c);
  }
  float number(int64_t n, int64_t i, int64_t j, int64_t c) const {
    const bool inside = i >= 0 && i < map.h && j >= 0 && j < map.w;
    return inside ? static_cast<float>(1 + ((n * map.h + i) * map.w + j) * map.channels + c) : 0;
  }
};

TEST(CudaMapIndex, TellsPixelsFromGaps) {
  const CountingMap m(3, 4, 5, 16, 2, 1);
  for (int64_t p = 0; p < m.map.pixels(); ++p)
    ASSERT_EQ(index_of(m.map).is_inside(p), at(m.data.tensor, p * 16) != 0) << "pixel " << p;
  const FeatureMap part = m.map.images(1, 1).rows(2, 2).range(0, 16);
  EXPECT_EQ(at(m.data.tensor, index_of(part).at(0, 1, 3)), m.number(1, 3, 3, 0));
}

TEST(CudaMapIndex, PlacesCountThrough) {
  int64_t t = 0;
  for (int64_t n = 0; n < 2; ++n)
    for (int64_t i = 0; i < 3; ++i)
      for (int64_t j = 0; j < 4; ++j)
        for (int64_t part = 0; part < 5; ++part, ++t) {
          const Place p = place(t, 3, 4, 5);
          ASSERT_TRUE(p.n == n && p.i == i && p.j == j && p.part == part) << t;
        }
}

// Where windows can be read from a map as it is, that is what they are to read.
TEST(CudaMapIndex, ReachInPlaceIsWhatWindowsRead) {
  struct Case {
    int64_t B, h, w, gap_h, gap_w;
    Window g;
    int64_t y_h, y_w;
    bool in_place;
  };
  const Case cases[] = {
      {2, 5, 6, 1, 1, {3, 3, 1, 1, 1}, 5, 6, true},  {2, 5, 6, 0, 0, {1, 1, 1, 0, 0}, 5, 6, true},
      {2, 5, 6, 0, 3, {1, 7, 1, 0, 3}, 5, 6, true},  {2, 5, 6, 1, 1, {1, 3, 1, 0, 1}, 5, 6, false},
      {1, 5, 6, 1, 1, {1, 3, 1, 0, 1}, 5, 6, true},  {2, 5, 6, 1, 2, {3, 3, 1, 1, 1}, 5, 6, false},
      {2, 5, 5, 0, 0, {3, 3, 2, 0, 0}, 2, 2, true},  {2, 5, 6, 0, 0, {3, 3, 2, 0, 0}, 2, 2, false},
      {2, 6, 5, 0, 0, {3, 3, 2, 0, 0}, 2, 2, false}, {1, 6, 5, 0, 0, {3, 3, 2, 0, 0}, 2, 2, true},
      {1, 4, 4, 1, 1, {3, 3, 2, 1, 1}, 2, 2, false}, {2, 5, 6, 0, 0, {3, 3, 1, 0, 0}, 3, 4, true},
      {2, 7, 6, 0, 0, {3, 3, 1, 0, 0}, 3, 4, false}, {1, 4, 6, 0, 0, {3, 3, 2, 0, 0}, 2, 3, false},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(concat(Shape{c.B, c.h, c.w, c.gap_h, c.gap_w}, " by ",
                        Shape{c.g.kh, c.g.kw, c.g.stride, c.g.pad_h, c.g.pad_w}, " to ", Shape{c.y_h, c.y_w}));
    const CountingMap x(c.B, c.h, c.w, 16, c.gap_h, c.gap_w);
    const FeatureMap y{.B = c.B, .h = c.y_h, .w = c.y_w};
    const Reach r = reach_of(c.g, y);
    EXPECT_EQ(r.h, (c.y_h - 1) * c.g.stride + c.g.kh);
    ASSERT_EQ(is_in_place(x.map, r, 16, c.g.stride), c.in_place);
    EXPECT_FALSE(is_in_place(x.map, r, 32, c.g.stride));
    if (!c.in_place) continue;
    const int64_t begin = index_of(x.map).at(0, r.top, r.left);
    for (int64_t n = 0; n < c.B; ++n)
      for (int64_t i = 0; i < r.h; ++i)
        for (int64_t j = 0; j < r.w; ++j)
          ASSERT_EQ(at(x.data.tensor, begin + ((n * r.h + i) * r.w + j) * 16), x.number(n, i + r.top, j + r.left, 0))
              << Shape{n, i, j};
  }
}

}  // namespace
}  // namespace uvic::test
