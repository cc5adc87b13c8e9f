// On which GPUs a process holds memory that it did not ask for: where a thread uses CUDA without having chosen a GPU,
// it makes a context on the first one. Only the emulated GPU tells.

#include <thread>

#include "gpu.h"
#include "kernels/core/memory.h"
#include "tests/check.h"

namespace uvic::test {
namespace {

// Death tests run in a process of their own: this one may have used the first GPU by now.
TEST(CudaContextDeathTest, ThreadsTakeNoOtherGpu) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto work = [] {
    setenv("UVIC_GPUS", "2", 1);
    constexpr Device second{DeviceKind::cuda, 1};
    Buffer made(second, 100);
    std::thread([&] {
      for (int i = 0; i < 40; ++i) Buffer(host_memory_for(second), 1000);
      std::vector<Buffer> many;  // more than are kept
      for (int i = 0; i < 40; ++i) many.emplace_back(host_memory_for(second), 1000);
    }).join();
    std::thread([&] { Buffer(std::move(made)); }).join();
    std::exit(emulated_gpu::has_context(1) && !emulated_gpu::has_context(0) ? 0 : 1);
  };
  EXPECT_EXIT(work(), ::testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace uvic::test
