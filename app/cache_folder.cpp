#include "app/cache_folder.h"

#include <cstdlib>

namespace uvic {
namespace {

std::string plans;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

}  // namespace

std::filesystem::path cache_folder() {
  if (const std::string cache = variable("XDG_CACHE_HOME"); !cache.empty())
    return std::filesystem::path(cache) / "uvic";
  const std::string home = variable("HOME");
  return home.empty() ? std::filesystem::path() : std::filesystem::path(home) / ".cache" / "uvic";
}

std::string timed_plans() { return plans; }

void keep_timed_plans() {
  plans = variable("UVIC_PLANS");
  if (plans.empty() && !cache_folder().empty()) plans = (cache_folder() / "plans").string();
  if (plans == "off") plans.clear();
}

}  // namespace uvic
