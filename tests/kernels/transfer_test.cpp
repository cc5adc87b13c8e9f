// Between host and device: on a CPU nothing moves, on a GPU every dtype goes there and back.

#include "kernels/ops/transfer.h"

#include "kernels/ops/pointwise.h"
#include "tests/check.h"

namespace uvic::test {
namespace {

class Transfer : public ::testing::TestWithParam<Device> {
 protected:
  bool cpu() const { return GetParam().kind == DeviceKind::cpu; }
  Context ctx{{.device = GetParam()}};
};
INSTANTIATE_TEST_SUITE_P(Devices, Transfer, ::testing::ValuesIn(devices()), device_name);

TEST_P(Transfer, EveryDtypeGoesThereAndBack) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f64, DType::i32, DType::u8}) {
    SCOPED_TRACE(name_of(dtype));
    for (const Device memory : {Device{}, host_memory_for(GetParam())}) {
      OwnedTensor from(memory, dtype, {2, 3}), back({}, dtype, {2, 3});
      assign(from.tensor, {1, 2, 3, 4, 5, 6});
      const OwnedTensor there(GetParam(), dtype, {2, 3});
      upload(ctx, from.tensor, there.tensor);
      download(ctx, there.tensor, back.tensor);
      EXPECT_EQ(values(back.tensor), values(from.tensor));
      EXPECT_EQ(values(on_host(ctx, there.tensor).tensor), values(from.tensor));
      const Tensor read = on_device(ctx, from.tensor);
      EXPECT_EQ(read.raw() == from.tensor.raw(), cpu());
      EXPECT_EQ(values(read), values(from.tensor));
    }
  }
}

TEST_P(Transfer, WhatTheHostWritesArrives) {
  const Tensor to = ctx.empty(DType::f32, {4});
  const OwnedTensor host = host_for(ctx, to);
  EXPECT_EQ(host.tensor.raw() == to.raw(), cpu());
  EXPECT_EQ(host.buffer.size() == 0, cpu());
  for (int i = 0; i < 4; ++i) host.tensor.data<float>()[i] = static_cast<float>(i);
  upload(ctx, host.tensor, to);
  EXPECT_EQ(values(to), (std::vector<double>{0, 1, 2, 3}));
}

TEST_P(Transfer, NumbersAndWeights) {
  Tensor numbers, labels;
  {
    const std::vector<float> gone{0.5f, -2};
    const std::vector<int32_t> also_gone{7, 8, 9};
    numbers = upload(ctx, gone), labels = upload(ctx, also_gone);
  }
  EXPECT_EQ(values(numbers), (std::vector<double>{0.5, -2}));
  EXPECT_EQ(values(labels), (std::vector<double>{7, 8, 9}));
  OwnedTensor weights({}, DType::f32, {3});
  assign(weights.tensor, {1, 2, 3});
  const void* before = weights.tensor.raw();
  const OwnedTensor kept = on_device(ctx, std::move(weights));
  EXPECT_EQ(kept.tensor.raw() == before, cpu());
  EXPECT_EQ(kept.buffer.device(), GetParam());
  EXPECT_EQ(values(kept.tensor), (std::vector<double>{1, 2, 3}));
  EXPECT_TRUE(on_device(ctx, OwnedTensor()).tensor.empty());
  EXPECT_TRUE(on_device(ctx, Tensor()).empty());
}

// However large it is: small ones, and others, go by different ways.
TEST_P(Transfer, TheSourceMayChangeAtOnce) {
  for (const int64_t n : {3, 600, 1 << 16}) {
    const OwnedTensor from({}, DType::f32, {n}), there(GetParam(), DType::f32, {n}),
        narrow(GetParam(), DType::bf16, {n});
    const auto arrives = [&](const OwnedTensor& to, auto send) {
      std::fill_n(from.tensor.data<float>(), n, 5.0f);
      send(ctx, from.tensor, to.tensor);
      std::fill_n(from.tensor.data<float>(), n, 7.0f);
      return values(to.tensor) == std::vector<double>(static_cast<size_t>(n), 5.0);
    };
    EXPECT_TRUE(arrives(there, [](auto&... args) { upload(args...); })) << n;
    zero(ctx, there.tensor);
    EXPECT_TRUE(arrives(there, cast)) << n;
    EXPECT_TRUE(arrives(narrow, cast)) << n;
  }
}

// A copy is in order with the work around it: what was computed before it, and not what comes after.
TEST_P(Transfer, IsInOrderWithTheWorkAroundIt) {
  const OwnedTensor first({}, DType::f32, {1 << 16});
  std::vector<double> ones(1 << 16, 1.0);
  assign(first.tensor, ones);
  const Tensor x = ctx.empty(DType::f32, {1 << 16});
  upload(ctx, first.tensor, x);
  for (int i = 0; i < 5; ++i) accumulate(ctx, on_device(ctx, first.tensor), x);
  const OwnedTensor read = on_host(ctx, x);
  if (!cpu()) zero(ctx, x);
  EXPECT_EQ(values(read.tensor), std::vector<double>(1 << 16, 6.0));
}

TEST_P(Transfer, RefusesWhatDoesNotFit) {
  const OwnedTensor host({}, DType::f32, {3}), there(GetParam(), DType::f32, {4});
  EXPECT_EQ(error_of([&] { upload(ctx, host.tensor, there.tensor); }), "upload: to is f32 [4], wanted f32 [3]");
  EXPECT_EQ(error_of([&] { download(ctx, there.tensor, host.tensor); }), "download: to is f32 [3], wanted f32 [4]");
}

// A GPU's staging memory is used again, and still begins with zeros.
TEST(HostMemory, BeginsWithZerosEveryTime) {
  for (const Device device : devices()) {
    for (int i = 0; i < 3; ++i) {
      const OwnedTensor t(host_memory_for(device), DType::u8, {1000});
      EXPECT_EQ(values(t.tensor), std::vector<double>(1000, 0.0));
      assign(t.tensor, std::vector<double>(1000, 9));
    }
    EXPECT_GT(total_memory(device), size_t{1} << 28);
  }
}

}  // namespace
}  // namespace uvic::test
