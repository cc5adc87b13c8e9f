// Loads that arrive beside the work. On the emulated GPU nothing is done before somebody waits for it, so that whatever
// is overwritten or released too early shows.

#include "kernels/core/feed.h"

#include "kernels/ops/pointwise.h"
#include "tests/check.h"

namespace uvic::test {
namespace {

class FeedTest : public ::testing::TestWithParam<Device> {
 protected:
  bool cpu() const { return GetParam().kind == DeviceKind::cpu; }
  OwnedTensor filled(int64_t n, double value) {
    OwnedTensor t(feed.host(), DType::f32, {n});
    assign(t.tensor, std::vector<double>(static_cast<size_t>(n), value));
    return t;
  }
  Context ctx{{.device = GetParam()}};
  Feed feed{ctx};
};
INSTANTIATE_TEST_SUITE_P(Devices, FeedTest, ::testing::ValuesIn(devices()), device_name);

TEST_P(FeedTest, EveryLoadIsThereWhenItsWorkComes) {
  std::vector<OwnedTensor> small, large;
  const OwnedTensor sums(GetParam(), DType::f32, {8, 1000});
  for (int64_t k = 0; k < 8; ++k) {
    small.push_back(filled(1000, static_cast<double>(k)));
    large.push_back(filled(1000 + 300000 * (k % 3), 100.0 * static_cast<double>(k)));  // the place has to grow
  }
  for (int64_t k = 0; k < 8; ++k) {
    feed.turn();
    const Tensor a = feed.take(small[size_t(k)].tensor), b = feed.take(large[size_t(k)].tensor);
    EXPECT_EQ(a.raw() == small[size_t(k)].tensor.raw(), cpu());
    feed.join();
    const Tensor row = sums.tensor.rows(k, k + 1).view({1000});
    cast(ctx, a, row);
    accumulate(ctx, b.rows(0, 1000), row);
  }
  std::vector<double> want;
  for (int k = 0; k < 8; ++k) want.insert(want.end(), 1000, 101.0 * k);
  synchronize(GetParam());
  EXPECT_EQ(values(sums.tensor), want);
}

TEST_P(FeedTest, NothingIsNothing) {
  feed.turn();
  EXPECT_TRUE(feed.take({}).empty());
  feed.join();
}

}  // namespace
}  // namespace uvic::test
