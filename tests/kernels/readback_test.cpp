#include "kernels/ops/readback.h"

#include "kernels/ops/pointwise.h"
#include "tests/check.h"

namespace uvic::test {
namespace {

class ReadbackTest : public ::testing::TestWithParam<Device> {
 protected:
  OwnedTensor there(DType dtype, const std::vector<double>& v) {
    const OwnedTensor here = tensor_of(dtype, {static_cast<int64_t>(v.size())}, v);
    OwnedTensor t(GetParam(), dtype, here.tensor.shape());
    copy({}, here.tensor, GetParam(), t.tensor);
    return t;
  }
  Context ctx{{.device = GetParam()}};
};
INSTANTIATE_TEST_SUITE_P(Devices, ReadbackTest, ::testing::ValuesIn(devices()), device_name);

TEST_P(ReadbackTest, GivesWhatWasThereAtItsPlaceInTheWork) {
  const OwnedTensor x = there(DType::f32, {1, 2, 3}), one = there(DType::f32, {1, 1, 1}), d = there(DType::f64, {0.5});
  Readback first(ctx, 64), second(ctx, 64);
  accumulate(ctx, one.tensor, x.tensor);
  const Tensor before = first.add(x.tensor), beside = first.add(d.tensor);
  accumulate(ctx, one.tensor, x.tensor);
  const Tensor after = second.add(x.tensor);
  zero(ctx, x.tensor);
  first.wait();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(before.data<float>()[i], i + 2);
  EXPECT_EQ(*beside.data<double>(), 0.5);
  second.wait();
  second.wait();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(after.data<float>()[i], i + 3);
}

// The memory goes to somebody else then.
TEST_P(ReadbackTest, ThatIsDroppedLeavesItsMemoryAlone) {
  const OwnedTensor x = there(DType::f32, std::vector<double>(100, 7));
  { Readback(ctx, 400).add(x.tensor); }
  const OwnedTensor next(host_memory_for(GetParam()), DType::f32, {100});
  synchronize(GetParam());
  for (int i = 0; i < 100; ++i) EXPECT_EQ(next.tensor.data<float>()[i], 0);
}

TEST_P(ReadbackTest, TakesNoMoreThanItWasMadeFor) {
  const OwnedTensor x = there(DType::f32, {1, 2, 3});
  Readback readback(ctx, 16);
  readback.add(x.tensor);
  EXPECT_NE(error_of([&] { readback.add(x.tensor); }).find("does not fit a buffer of 16 bytes"), std::string::npos);
}

}  // namespace
}  // namespace uvic::test
