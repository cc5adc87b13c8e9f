// What is kept of timed matrix products. The file's own tests need no GPU.

#include "kernels/cuda/plan_cache.h"

#include <unistd.h>

#include <fstream>
#include <sstream>

#include "kernels/ops/linear.h"
#include "tests/check.h"

namespace uvic::test {
namespace {

namespace fs = std::filesystem;
using cuda::PlanCache;

class CudaPlanCache : public ::testing::Test {
 protected:
  CudaPlanCache() { fs::remove_all(folder); }
  ~CudaPlanCache() override { fs::remove_all(folder); }
  std::string text() const {
    std::ostringstream all;
    all << std::ifstream(file, std::ios::binary).rdbuf();
    return all.str();
  }
  void write(const std::string& text) const { std::ofstream(file, std::ios::binary) << text; }
  PlanCache open(const std::string& maker = "library 1") const { return {file, maker}; }

  const fs::path folder = fs::temp_directory_path() / ("uvic-plans-" + std::to_string(getpid()));
  const fs::path file = folder / "deep" / "plans.txt";
  const PlanCache::Problem one{1, -2, 3}, two{4, 5, int64_t{1} << 62};
  const PlanCache::Algorithm a{7, 8, ~uint64_t{0}}, b{9};
};

TEST_F(CudaPlanCache, RemembersWhatWasAdded) {
  PlanCache plans = open();
  EXPECT_EQ(plans.find(one), nullptr);
  plans.add(one, a);
  plans.add(two, b);
  const PlanCache later = open();
  ASSERT_TRUE(later.find(one) && later.find(two));
  EXPECT_EQ(*later.find(one), a);
  EXPECT_EQ(*later.find(two), b);
  EXPECT_EQ(std::distance(fs::directory_iterator(file.parent_path()), {}), 1);  // no temporary is left
}

TEST_F(CudaPlanCache, KeepsWhatOthersAddedMeanwhile) {
  PlanCache mine = open(), theirs = open();
  theirs.add(one, a);
  mine.add(two, b);
  EXPECT_TRUE(open().find(one) && open().find(two));
}

// Who was first with a problem is right for all; unless its algorithm proved to be of no use.
TEST_F(CudaPlanCache, ProcessesComeToOneMind) {
  PlanCache mine = open(), theirs = open();
  theirs.add(one, a);
  mine.add(one, b);
  EXPECT_EQ(*mine.find(one), a);
  mine.add(one, b);
  EXPECT_EQ(*mine.find(one), b);
  EXPECT_EQ(*open().find(one), b);
}

// Cut off anywhere, or with any byte changed, or of another library: as good as empty, and written anew.
TEST_F(CudaPlanCache, IgnoresDamagedAndForeignFiles) {
  open().add(one, a);
  const std::string whole = text();
  EXPECT_EQ(open("library 2").find(one), nullptr);
  EXPECT_EQ(open("library").find(one), nullptr);
  for (size_t i = 0; i < whole.size(); ++i) {
    write(whole.substr(0, i));
    ASSERT_EQ(open().find(one), nullptr) << "the first " << i << " bytes";
    std::string changed = whole;
    changed[i] = static_cast<char>(changed[i] ^ 1);
    write(changed);
    ASSERT_EQ(open().find(one), nullptr) << "byte " << i;
  }
  open().add(two, b);
  EXPECT_TRUE(open().find(two));
}

TEST_F(CudaPlanCache, AFolderThatCannotBeWrittenIsNoError) {
  PlanCache plans("/proc/uvic/plans.txt", "library 1");
  plans.add(one, a);
  EXPECT_TRUE(plans.find(one));
}

TEST_F(CudaPlanCache, TimedProductsAreRightAndRemembered) {
  if (gpu_count() == 0) GTEST_SKIP() << "skipped: no device";
  const OwnedTensor x = random_tensor(DType::f32, {33, 48}, 1), w = random_tensor(DType::f32, {24, 48}, 2),
                    r = random_tensor(DType::f32, {33, 24}, 3);
  std::vector<double> want;
  for (int64_t i = 0; i < 33 * 24; ++i) {
    want.push_back(at(r.tensor, i));
    for (int64_t k = 0; k < 48; ++k) want.back() += at(x.tensor, i / 24 * 48 + k) * at(w.tensor, i % 24 * 48 + k);
  }
  const auto run = [&] {
    Context ctx({.device = {DeviceKind::cuda, 0}, .timed_plans = folder});
    const OwnedTensor y(host(), DType::f32, {33, 24});
    linear_forward(ctx, {.x = x.tensor, .w = w.tensor, .residual = r.tensor}, y.tensor);
    return values(y.tensor);
  };
  const std::vector<double> first = run();
  EXPECT_CLOSE_MAX(first, want, op_tolerance(DType::f32));
  ASSERT_EQ(std::distance(fs::directory_iterator(folder), {}), 1);
  const fs::path plans = *fs::directory_iterator(folder);
  const fs::file_time_type before = fs::last_write_time(plans);
  EXPECT_EQ(run(), first);
  EXPECT_EQ(fs::last_write_time(plans), before);
  std::ofstream(plans) << "nonsense";
  EXPECT_CLOSE_MAX(run(), want, op_tolerance(DType::f32));
}

}  // namespace
}  // namespace uvic::test
