// A GPU's memory and its errors. Where there is none, the one test that says so, and why ops' tests have no "cuda" row.

#include "kernels/core/context.h"
#include "kernels/ops/pointwise.h"
#include "tests/check.h"

namespace uvic::test {
namespace {

constexpr Device kGpu{DeviceKind::cuda, 0};

class CudaDevice : public ::testing::Test {
 protected:
  void SetUp() override {
    if (gpu_count() == 0) GTEST_SKIP() << "skipped: no device";
  }
};

TEST_F(CudaDevice, CopiesBothWaysAndBeginsWithZeros) {
  const OwnedTensor here = random_tensor(DType::f32, {3, 5}, 1), back(Device{}, DType::f32, {3, 5});
  const OwnedTensor there(kGpu, DType::f32, {3, 5});
  copy(kGpu, there.tensor, {}, back.tensor);
  EXPECT_EQ(values(back.tensor), std::vector<double>(15, 0.0));
  copy(host(), here.tensor, kGpu, there.tensor);
  copy(kGpu, there.tensor, {}, back.tensor);
  EXPECT_EQ(values(back.tensor), values(here.tensor));
}

TEST_F(CudaDevice, CastTakesTensorsOnTheHost) {
  Context ctx({.device = kGpu});
  OwnedTensor from(Device{}, DType::f32, {7}), to(Device{}, DType::bf16, {7});
  assign(from.tensor, {1, 2, 3, 4, 5, 6, 7});
  const OwnedTensor there(kGpu, DType::bf16, {7});
  cast(ctx, from.tensor, there.tensor);
  cast(ctx, there.tensor, to.tensor);
  EXPECT_EQ(values(to.tensor), values(from.tensor));
}

TEST_F(CudaDevice, OutOfMemorySaysHowMuchWasWantedAndIsFree) {
  const std::string error = error_of([] { Buffer(kGpu, size_t{1} << 50); });
  EXPECT_NE(error.find("out of memory on cuda:0: 1073741824 MiB wanted, "), std::string::npos) << error;
}

TEST_F(CudaDevice, AGpuThatIsNotThereIsAnError) {
  EXPECT_NE(error_of([] { Buffer({DeviceKind::cuda, 99}, 1); }).find("there is no cuda:99"), std::string::npos);
}

TEST(CudaAbsent, UsingAGpuIsAnErrorAndNotACrash) {
  if (gpu_count() > 0) GTEST_SKIP() << "skipped: there is a device";
  EXPECT_FALSE(error_of([] { Buffer(kGpu, 1); }).empty());
  EXPECT_FALSE(error_of([] { Buffer({DeviceKind::pinned, 0}, 1); }).empty());
  EXPECT_FALSE(error_of([] { synchronize(kGpu); }).empty());
}

TEST(HostCopy, CopiesAndChecks) {
  const OwnedTensor a = random_tensor(DType::f32, {4, 3}, 1), b(Device{}, DType::f32, {4, 3}),
                    c(Device{}, DType::f32, {3, 4});
  copy(host(), a.tensor, {}, b.tensor);
  EXPECT_EQ(values(b.tensor), values(a.tensor));
  EXPECT_EQ(error_of([&] { copy(host(), a.tensor, {}, c.tensor); }), "copy: from is f32 [4, 3], to is f32 [3, 4]");
}

}  // namespace
}  // namespace uvic::test
