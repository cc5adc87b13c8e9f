// The arithmetic of kernels/cuda/attention_tile.h and attention_passes.h that no result shows: which lane holds what,
// and what a tile costs. The loops themselves are tested where a GPU is, or an emulated one (attention_test.cpp).

#include <set>

#include "kernels/cuda/attention_passes.h"
#include "tests/check.h"

namespace uvic::test {
namespace {

TEST(CudaAttentionTile, EveryElementOfAnAccumulatorHasOneLane) {
  std::set<std::pair<int, int>> held;
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < 4; ++i) {
      const int row = cuda::tile_row(lane, i), column = cuda::tile_column(lane, i);
      EXPECT_TRUE(row >= 0 && row < 16 && column >= 0 && column < 8) << lane << " " << i;
      held.emplace(row, column);
      EXPECT_EQ(cuda::tile_column(lane, i | 1), cuda::tile_column(lane, i & ~1) + 1);  // pairs are stored as one
    }
  EXPECT_EQ(held.size(), 16u * 8);
}

TEST(CudaAttentionTile, GroupsOfAStepHoldAllThatIsLeft) {
  for (int64_t end = 0; end <= 3 * cuda::kForwardStep; ++end)
    for (int64_t first = 0; first < end + cuda::kForwardStep; first += cuda::kForwardStep) {
      const int groups = cuda::groups_of<cuda::kForwardStep>(first, end);
      const int64_t left = std::min<int64_t>(end - first, cuda::kForwardStep);
      if (left <= 0) {
        EXPECT_LE(groups, 0);
      } else {
        EXPECT_TRUE(16 * groups >= left && 16 * (groups - 1) < left) << first << " " << end;
      }
    }
}

template <int kD>
void expect_tiles_fit() {
  SCOPED_TRACE(kD);
  static_assert(kD % 16 == 0);
  // Shared memory has 32 banks of 4 bytes: the rows of an 8 x 8 matrix, 16 bytes each, take all of them, each once.
  std::set<int> banks;
  for (int row = 0; row < 8; ++row) banks.insert(row * cuda::kTileStride<kD> * 2 / 4 % 32);
  EXPECT_EQ(banks.size(), 8u);
  for (const int bank : banks) EXPECT_EQ(bank % 4, 0);
  // Of the 164 KB that a multiprocessor of compute capability 8.0 has, 163 are a block's at most.
  EXPECT_LE(cuda::kForwardShared<kD> * 2, 163 << 10);
  EXPECT_LE(cuda::kBackwardShared<kD> * 2, 163 << 10);
}

TEST(CudaAttentionTile, RowsLieInDifferentBanksAndBlocksFit) {
  expect_tiles_fit<32>();
  expect_tiles_fit<64>();
  expect_tiles_fit<80>();
  expect_tiles_fit<96>();
  expect_tiles_fit<128>();
  EXPECT_EQ(std::size(cuda::kTileWidths), 5u);
}

}  // namespace
}  // namespace uvic::test
