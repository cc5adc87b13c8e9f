#pragma once

#include <string>

namespace uvic {

// How two JSON objects, as text, differ, for messages: "seed 0, here 1; size 64, here 256". there may be anything.
std::string json_differences(const std::string& there, const std::string& here);

}  // namespace uvic
