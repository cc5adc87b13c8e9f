#pragma once

#include <string>

#include "app/config.h"
#include "app/yaml_reader.h"

namespace uvic {

// What a field accepts, to follow "must be": "an integer in [1, 64]", "one of eps, x0, v".
std::string expectation(const Field& field);
std::string range_text(const Range& range);  // "in (0, 1]", ">= 0", "" for any

// Overwrites the field's value with the setting's. Throws Error, starting with where it was given, for a wrong type or
// a value out of range.
void assign(const Field& field, const Setting& setting);

}  // namespace uvic
