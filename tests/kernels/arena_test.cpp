#include "kernels/core/arena.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>

#include "tests/check.h"

namespace uvic::test {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

TEST(Arena, GivesAlignedMemoryThatDoesNotOverlap) {
  Arena arena({});
  std::vector<std::pair<unsigned char*, size_t>> all;
  for (const size_t bytes : {size_t{0}, size_t{1}, size_t{63}, size_t{64}, size_t{65}, kMiB, 3 * kMiB, size_t{100}}) {
    auto* p = static_cast<unsigned char*>(arena.allocate(bytes));
    ASSERT_NE(p, nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(p) % 64, 0u);
    std::memset(p, static_cast<int>(all.size()), bytes);
    all.push_back({p, bytes});
  }
  for (size_t k = 0; k < all.size(); ++k)
    for (size_t i = 0; i < all[k].second; ++i) ASSERT_EQ(all[k].first[i], k);
}

TEST(Arena, TensorHasShapeAndDType) {
  Arena arena({});
  const Tensor t = arena.tensor(DType::bf16, {3, 5});
  EXPECT_EQ(t.shape(), (Shape{3, 5}));
  EXPECT_EQ(t.dtype(), DType::bf16);
  EXPECT_FALSE(arena.tensor(DType::f32, {0, 4}).empty());
}

TEST(Arena, RewindGivesTheSameMemoryAgain) {
  Arena arena({});
  arena.allocate(100);
  const Arena::Mark mark = arena.mark();
  void* first = arena.allocate(1000);
  arena.allocate(5 * kMiB);  // in another block
  arena.rewind(mark);
  EXPECT_EQ(arena.mark(), mark);
  EXPECT_EQ(arena.allocate(1000), first);
}

TEST(Arena, BlocksBehindARewindAreUsedAgain) {
  Arena arena({});
  arena.allocate(kMiB / 2);
  const Arena::Mark mark = arena.mark();
  arena.allocate(2 * kMiB);
  const int growths = arena.growths();
  const size_t capacity = arena.capacity();
  for (int i = 0; i < 3; ++i) {
    arena.rewind(mark);
    arena.allocate(2 * kMiB);
  }
  EXPECT_EQ(arena.growths(), growths);
  EXPECT_EQ(arena.capacity(), capacity);
  arena.rewind(mark);
  arena.allocate(16 * kMiB);  // the block behind is too small: it is replaced
  EXPECT_EQ(arena.growths(), growths + 1);
}

// One step of odd sizes with a rewind inside. Returns the addresses it saw.
std::vector<void*> step(Arena& arena) {
  std::vector<void*> at;
  for (size_t i = 1; i < 40; ++i) at.push_back(arena.allocate(i * 50021));
  const Arena::Mark mark = arena.mark();
  at.push_back(arena.allocate(9 * kMiB));
  arena.rewind(mark);
  at.push_back(arena.allocate(kMiB));
  return at;
}

TEST(Arena, StepsAfterTheFirstAllocateNothingAndSeeTheSameAddresses) {
  Arena arena({});
  step(arena);
  const size_t peak = arena.peak();
  const int growths = arena.growths();
  EXPECT_GT(growths, 1);
  arena.reset();
  EXPECT_EQ(arena.mark(), Arena::Mark{});
  const auto second = step(arena);
  for (int i = 0; i < 3; ++i) {
    arena.reset();
    EXPECT_EQ(step(arena), second);
  }
  EXPECT_EQ(arena.growths(), growths);
  EXPECT_EQ(arena.peak(), peak);
  EXPECT_GE(arena.capacity(), peak);
}

TEST(Arena, PeakIsTheMostEverInUse) {
  Arena arena({});
  const Arena::Mark start = arena.mark();
  arena.allocate(3 * kMiB);
  arena.allocate(2 * kMiB);
  arena.rewind(start);
  arena.allocate(kMiB);
  EXPECT_GE(arena.peak(), 5 * kMiB);
  EXPECT_LT(arena.peak(), 5 * kMiB + 1024);
}

TEST(Arena, ReserveMakesOneBlockAheadOfUse) {
  Arena arena({});
  arena.reserve(8 * kMiB);
  const Tensor t = arena.tensor(DType::f32, {kMiB});
  EXPECT_EQ(arena.growths(), 0);
  EXPECT_EQ(error_of([&] { arena.reserve(kMiB); }).substr(0, 20), "Arena::reserve while");
  EXPECT_FALSE(t.empty());
}

TEST(Arena, ScopeRewindsUnlessItKeeps) {
  Context ctx;
  const Arena::Mark start = ctx.arena().mark();
  {
    const auto scope = ctx.scope("temporary");
    ctx.empty(DType::f32, {100});
  }
  EXPECT_EQ(ctx.arena().mark(), start);
  {
    const auto scope = ctx.scope("saved", Keep::all);
    ctx.empty(DType::f32, {100});
  }
  EXPECT_NE(ctx.arena().mark(), start);
}

TEST(Arena, ScopeRewindsAndNamesWhereAnErrorPassed) {
  Context ctx;
  const Arena::Mark start = ctx.arena().mark();
  EXPECT_EQ(error_of([&] {
              const auto outer = ctx.scope("outer", Keep::all);
              const auto inner = ctx.scope("inner", Keep::all);
              ctx.empty(DType::f32, {100});
              fail("broken");
            }),
            "broken");
  EXPECT_EQ(ctx.take_failed_scope(), "outer/inner");
  EXPECT_EQ(ctx.take_failed_scope(), "");
  EXPECT_EQ(ctx.arena().mark(), start);
}

#ifndef __SANITIZE_ADDRESS__  // which takes memory of its own, and ends the program where there is none
TEST(ArenaDeathTest, WhereMemoryIsShortABlockIsNoLargerThanItHasToBe) {
  EXPECT_EXIT(
      {
        int64_t pages = 0;
        std::ifstream("/proc/self/statm") >> pages;
        const rlim_t room = static_cast<rlim_t>(pages * sysconf(_SC_PAGESIZE)) + 160 * kMiB;
        rlimit limit;
        limit.rlim_cur = limit.rlim_max = room;
        setrlimit(RLIMIT_AS, &limit);
        Arena arena({});
        arena.allocate(120 * kMiB);
        arena.allocate(20 * kMiB);  // half of what it holds would be 60
        std::exit(0);
      },
      ::testing::ExitedWithCode(0), "");
}
#endif

#ifndef NDEBUG
TEST(ArenaDeathTest, WritingPastTheEndIsFound) {
  EXPECT_DEATH(
      {
        Arena arena({});
        const Arena::Mark mark = arena.mark();
        auto* p = static_cast<unsigned char*>(arena.allocate(64));
        p[64] = 1;
        arena.rewind(mark);
      },
      "wrote past the end");
}
#endif

}  // namespace
}  // namespace uvic::test
