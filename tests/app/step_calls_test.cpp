// What a training step asks of a GPU, counted by the emulated one: that the host waits for nothing but the numbers of
// the step before, and that the step itself is two recordings.

#include "gpu.h"
#include "tests/app/steps_fixture.h"

namespace uvic::test {
namespace {

class StepCalls : public ImageFolderTest {
 protected:
  // Of the steps from `from` on, when each is read after the next one was given.
  std::vector<emulated_gpu::Calls> calls(const RunConfig& config, int64_t from, int64_t to) {
    StepsFixture run(config, {DeviceKind::cuda, 0});
    std::vector<emulated_gpu::Calls> all;
    run.steps.give(1);
    for (int64_t k = 2; k <= to; ++k) {
      const emulated_gpu::Calls before = emulated_gpu::calls();
      run.steps.give(k);
      run.steps.read();
      const emulated_gpu::Calls now = emulated_gpu::calls();
      if (k >= from)
        all.push_back({now.waits - before.waits, now.kernels - before.kernels, now.graphs - before.graphs});
    }
    return all;
  }
  const std::filesystem::path data_ = class_folders(3, 5);
};

TEST_F(StepCalls, TheHostWaitsForTheStepBeforeAlone) {
  if (gpu_count() == 0) GTEST_SKIP() << "skipped: no device";
  for (const emulated_gpu::Calls& c : calls(tiny_run(data_), 6, 12)) {
    EXPECT_EQ(c.waits, 1u);
    EXPECT_EQ(c.graphs, 2u);   // gradients, update
    EXPECT_EQ(c.kernels, 3u);  // noise, images from pixels, this step's rates
  }
}

TEST_F(StepCalls, PartsOfABatchWaitForNothingEither) {
  if (gpu_count() == 0) GTEST_SKIP() << "skipped: no device";
  RunConfig config = tiny_run(data_);
  config.train.accumulate = 2;
  for (const emulated_gpu::Calls& c : calls(config, 6, 12)) {
    EXPECT_EQ(c.waits, 1u);
    EXPECT_EQ(c.graphs, 3u);
    EXPECT_EQ(c.kernels, 7u);  // also the share of the batch in the loss weights
  }
}

}  // namespace
}  // namespace uvic::test
