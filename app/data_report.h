#pragma once

#include <filesystem>
#include <string>

namespace uvic {

// Whether uvic-encode wrote latents or texts into this folder.
bool is_encoded_data(const std::filesystem::path& folder);

// What they are and how they were made, as lines of a name and a value or as one JSON object. Throws Error naming what
// is missing or damaged, as far as sizes and headers show it.
std::string describe_data(const std::filesystem::path& folder, bool as_json);

// Reads all of them, and says on stderr that they are whole. Throws Error naming every damaged shard, or why nothing
// can be trained on them.
void check_data(const std::filesystem::path& folder);

}  // namespace uvic
