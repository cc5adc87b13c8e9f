#pragma once

#include <filesystem>
#include <string>

namespace uvic {

// What uvic keeps from run to run, and makes again where it is lost: $XDG_CACHE_HOME/uvic, or ~/.cache/uvic. Empty
// where neither is known.
std::filesystem::path cache_folder();

// For ContextOptions::timed_plans: what UVIC_PLANS says, a folder or "off", else plans/ in the cache folder. Empty
// before keep_timed_plans() is called, as every program does: tests must not depend on what was fastest some day.
std::string timed_plans();
void keep_timed_plans();

}  // namespace uvic
