// A group of one emulated GPU; groups of several are in tests/app/processes_test.cpp. Each test ends in a process of
// its own, since a process starts MPI once.

#include "kernels/core/gpu_group.h"

#include <mpi.h>

#include "kernels/core/replay.h"
#include "kernels/ops/pointwise.h"
#include "tests/check.h"

namespace uvic::test {
namespace {

class GpuGroupDeathTest : public ::testing::Test {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

// Adds x to itself, and sums over the group, as often as a graph of it takes to be made and replayed; says whether x is
// what it should be. The group or the graphs are destroyed first.
void run(bool group_first) {
  MPI_Init(nullptr, nullptr);
  bool right = false;
  {
    Context ctx({.device = {DeviceKind::cuda, 0}});
    const OwnedTensor x(ctx.device(), DType::f32, {3});
    OwnedTensor ones({}, DType::f32, {3});
    assign(ones.tensor, {1, 1, 1});
    copy({}, ones.tensor, ctx.device(), x.tensor);
    auto group = std::make_unique<GpuGroup>(ctx, GpuGroup::make_id(), 0, 1);
    auto replay = std::make_unique<Replay>();
    for (int i = 0; i < 4; ++i)
      replay->run(ctx, {x.tensor}, [&] {
        accumulate(ctx, x.tensor, x.tensor);
        group->begin_sum(x.tensor);
        group->finish_sums();
      });
    copy(ctx.device(), x.tensor, {}, ones.tensor);
    right = values(ones.tensor) == std::vector<double>(3, 16);
    if (group_first) group.reset();
    replay.reset();
  }
  MPI_Finalize();
  std::exit(right ? 0 : 1);
}

TEST_F(GpuGroupDeathTest, SumsMayBeReplayed) { EXPECT_EXIT(run(false), ::testing::ExitedWithCode(0), ""); }

TEST_F(GpuGroupDeathTest, MustOutliveReplays) {
  EXPECT_DEATH(run(true), "ncclCommDestroy waits for ever: there is a graph that recorded its calls");
}

}  // namespace
}  // namespace uvic::test
