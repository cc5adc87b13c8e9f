#pragma once

#include <string>

#include "model/config.h"

namespace uvic {

// The config as JSON with the released constructor's argument names, and back; for files' metadata. where begins the
// message of an Error.
std::string config_to_json(const UViCConfig& config);
UViCConfig config_from_json(const std::string& json, const std::string& where);

}  // namespace uvic
