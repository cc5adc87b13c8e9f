#include "kernels/core/replay.h"

#include <array>

#include "kernels/ops/linear.h"
#include "kernels/ops/norm.h"
#include "kernels/ops/pointwise.h"
#include "tests/check.h"

namespace uvic::test {
namespace {

class ReplayTest : public ::testing::TestWithParam<Where> {
 protected:
  OwnedTensor there(Shape shape, uint64_t seed) {
    const OwnedTensor here = random_tensor(DType::f32, shape, seed);
    OwnedTensor t(ctx.device(), DType::f32, shape);
    copy(host(), here.tensor, ctx.device(), t.tensor);
    return t;
  }
  std::vector<double> back(const OwnedTensor& t) {
    const OwnedTensor here(Device{}, t.tensor.dtype(), t.tensor.shape());
    copy(ctx.device(), t.tensor, {}, here.tensor);
    return values(here.tensor);
  }
  // y = linear(layernorm(x)), with temporaries in the arena.
  void work(Tensor x, Tensor y) {
    ++calls;
    auto scope = ctx.scope("work");
    const Tensor h = ctx.like(x);
    layernorm_forward(ctx, {.x = x, .w = ones.tensor, .b = shift.tensor, .eps = 1e-5f}, h);
    linear_forward(ctx, {.x = h, .w = w.tensor}, y);
  }

  Context ctx = context(GetParam());
  const OwnedTensor w = there({9, 7}, 1), ones = there({7}, 2), shift = there({7}, 3);
  int calls = 0;
  Replay replay;
};
INSTANTIATE_TEST_SUITE_P(Everywhere, ReplayTest, ::testing::ValuesIn(everywhere_and_gpu({DType::f32})), where_name);

TEST_P(ReplayTest, DoesWhatTheWorkDoesWithWhatIsInMemoryThen) {
  const OwnedTensor x = there({5, 7}, 4), y = there({5, 9}, 5), want = there({5, 9}, 6);
  for (uint64_t i = 0; i < 6; ++i) {
    const OwnedTensor next = there({5, 7}, 10 + i);
    copy(ctx.device(), next.tensor, ctx.device(), x.tensor);
    replay.run(ctx, {x.tensor, y.tensor}, [&] { work(x.tensor, y.tensor); });
    const std::vector<double> got = back(y);
    const int before = calls;
    work(x.tensor, want.tensor);
    calls = before;
    EXPECT_EQ(got, back(want)) << i;
  }
  EXPECT_LE(calls, ctx.device().kind == DeviceKind::cuda ? 3 : 6);  // one more where the arena had to grow
}

TEST_P(ReplayTest, TellsPlacesApart) {
  const OwnedTensor a = there({5, 7}, 4), b = there({3, 7}, 5), of_a = there({5, 9}, 6), of_b = there({3, 9}, 7),
                    want_a = there({5, 9}, 8), want_b = there({3, 9}, 9);
  for (int i = 0; i < 4; ++i) {
    replay.run(ctx, {a.tensor, of_a.tensor}, [&] { work(a.tensor, of_a.tensor); });
    replay.run(ctx, {b.tensor, of_b.tensor}, [&] { work(b.tensor, of_b.tensor); });
  }
  work(a.tensor, want_a.tensor);
  work(b.tensor, want_b.tensor);
  EXPECT_EQ(back(of_a), back(want_a));
  EXPECT_EQ(back(of_b), back(want_b));
}

TEST_P(ReplayTest, TellsVariantsApart) {
  const OwnedTensor x = there({5, 7}, 4), y = there({5, 9}, 5), want = there({5, 9}, 6);
  const auto double_of = [&](Tensor t) { linear_combination(ctx, std::array<Term, 1>{{{2.0, t}}}, t); };
  for (int i = 0; i < 4; ++i)
    for (const int64_t times : {1, 2}) {
      const auto once_or_twice = [&] {
        work(x.tensor, y.tensor);
        if (times == 2) double_of(y.tensor);
      };
      replay.run(ctx, {x.tensor, y.tensor}, once_or_twice, times);
    }
  work(x.tensor, want.tensor);
  double_of(want.tensor);
  EXPECT_EQ(back(y), back(want));
}

// A recording that ends with an error leaves a Context that still works, and no half of a graph.
TEST_P(ReplayTest, OutlivesAnErrorInTheWork) {
  const OwnedTensor x = there({5, 7}, 4), y = there({5, 9}, 5), want = there({5, 9}, 6);
  for (int i = 0; i < 4; ++i)
    EXPECT_EQ(error_of([&] {
                replay.run(ctx, {x.tensor, y.tensor}, [&] {
                  work(x.tensor, y.tensor);
                  fail("no");
                });
              }),
              "no");
  EXPECT_EQ(calls, 4);
  for (int i = 0; i < 3; ++i) replay.run(ctx, {x.tensor, y.tensor}, [&] { work(x.tensor, y.tensor); });
  work(x.tensor, want.tensor);
  EXPECT_EQ(back(y), back(want));
}

TEST_P(ReplayTest, ProfilingCallsTheWork) {
  const OwnedTensor x = there({5, 7}, 4), y = there({5, 9}, 5);
  ctx.set_profiling(true);
  for (int i = 0; i < 5; ++i) replay.run(ctx, {x.tensor, y.tensor}, [&] { work(x.tensor, y.tensor); });
  EXPECT_EQ(calls, 5);
  EXPECT_EQ(ctx.timings().at("work").calls, 5);
}

}  // namespace
}  // namespace uvic::test
