#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "app/data/index.h"

namespace uvic {

// What uvic-encode pack writes beside its shards, so that they need not be walked before they are used.

// shard-000000.tsv: "uvic-shard-1", the bytes of shard-000000.tar and the number of images on the first line, then
// name, offset, size and label of each, tabs between them. Unlabelled images have the label -1.
std::filesystem::path shard_index_path(const std::filesystem::path& shard);
std::string shard_index_text(int64_t shard_bytes, const std::vector<ImageEntry>& entries);

// The images of a shard as its index says, `file` left at 0. Nothing if there is no index or the shard is longer than
// it says (of a shorter one the images that are missing will be found to be broken). Throws Error naming an index that
// is damaged.
std::optional<std::vector<ImageEntry>> read_shard_index(const std::filesystem::path& shard);

// "classes" of index.json in a folder of shards; empty if there is none.
inline constexpr const char* kIndexName = "index.json";
std::vector<std::string> read_class_names(const std::filesystem::path& folder);

}  // namespace uvic
