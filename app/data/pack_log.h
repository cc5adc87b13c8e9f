#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "app/data/folder_lock.h"

namespace uvic {

class Dataset;

// One line of pack.jsonl: a shard that is whole and has its name.
struct PackedShard {
  std::string file;  // empty: no shard, since all of the last images are broken
  int64_t samples = 0;
  int64_t bytes = 0;
  int64_t next = 0;              // images of the data set, in packing order, that it and those before it used up
  std::vector<std::string> bad;  // which of them were left out, and why
};

// What the bytes of the shards depend on.
struct PackSettings {
  double shard_mb = 0;
  int size = 0;
  std::string crop;
  int jpeg_quality = 0;
  bool in_order = false;
  uint64_t seed = 0;
  bool exif_orientation = false;
  int64_t images = 0;
  std::string fingerprint;
};

// Of names, labels and sizes in bytes in their order, 16 hex digits. Contents are not looked at.
std::string fingerprint(const Dataset& data);

// How far a packing is: pack.jsonl in the folder of the shards, settings on the first line and then a shard a line,
// each written when the shard is in place. A line that a crash tore, or whose shard or its index is not there, ends the
// list: packing goes on from there, and makes the same bytes again.
class PackLog {
 public:
  // Makes the folder, and holds it against other processes. Throws Error if it cannot, if another one is at it, or if
  // it holds shards that were packed with other settings, or not by us.
  PackLog(const std::filesystem::path& folder, const PackSettings& settings);

  const std::vector<PackedShard>& shards() const { return shards_; }
  int64_t next() const { return shards_.empty() ? 0 : shards_.back().next; }
  void add(const PackedShard& shard);

 private:
  void read(const std::string& settings);
  void rewrite(const std::string& settings) const;

  std::filesystem::path folder_, path_;
  std::optional<FolderLock> lock_;
  std::vector<PackedShard> shards_;
};

}  // namespace uvic
