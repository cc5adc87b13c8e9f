// Where programs keep what they can make again: what the environment says, and nothing where it says nothing.

#include "app/cache_folder.h"

#include <cstdlib>
#include <map>

#include "tests/check.h"

namespace uvic::test {
namespace {

// Sets variables for a test; nothing is kept after it.
class CacheFolder : public ::testing::Test {
 protected:
  CacheFolder() {
    for (const char* name : {"XDG_CACHE_HOME", "HOME", "UVIC_PLANS"}) {
      if (const char* value = std::getenv(name)) before_[name] = value;
      unsetenv(name);
    }
  }
  ~CacheFolder() override {
    setenv("UVIC_PLANS", "off", 1);
    keep_timed_plans();
    unsetenv("UVIC_PLANS");
    for (const auto& [name, value] : before_) setenv(name.c_str(), value.c_str(), 1);
  }
  static std::string plans_with(const char* value) {
    setenv("UVIC_PLANS", value, 1);
    keep_timed_plans();
    return timed_plans();
  }

 private:
  std::map<std::string, std::string> before_;
};

TEST_F(CacheFolder, IsTheUsers) {
  EXPECT_EQ(cache_folder(), "");
  setenv("HOME", "/home/u", 1);
  EXPECT_EQ(cache_folder(), "/home/u/.cache/uvic");
  setenv("XDG_CACHE_HOME", "/tmp/c", 1);
  EXPECT_EQ(cache_folder(), "/tmp/c/uvic");
}

TEST_F(CacheFolder, PlansAreKeptByProgramsAlone) {
  setenv("HOME", "/home/u", 1);
  EXPECT_EQ(timed_plans(), "");
  keep_timed_plans();
  EXPECT_EQ(timed_plans(), "/home/u/.cache/uvic/plans");
  EXPECT_EQ(plans_with("/tmp/p"), "/tmp/p");
  EXPECT_EQ(plans_with(""), "/home/u/.cache/uvic/plans");
  EXPECT_EQ(plans_with("off"), "");
  unsetenv("HOME");
  EXPECT_EQ(plans_with(""), "");
}

}  // namespace
}  // namespace uvic::test
