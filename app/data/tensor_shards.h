#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "app/log.h"
#include "app/rows.h"
#include "model/io/safetensors.h"

namespace uvic {

// A data set of tensors, as uvic-encode makes it of images and texts: safetensors shards <kind>-000000.safetensors ...
// and, once all are there, <kind>.json with their rows, checksums, class names and how they were made. Shards and index
// of several kinds may share a folder. A shard's tensors (text as lines, u8; numbers as f32, f16 or bf16), of n items:
//   any kind  names: a line an item; left_out: broken items, and why
//   images    moments [n, 2C, h, w] (mean, then log variance; not scaled) or means [n, C, h, w]; moments_flipped or
//             means_flipped: of the mirrored images; labels [n] i32. Name: the image's path below the data set, without
//             its extension
//   text      context [m, T, D]: of m captions, item i's are those from begin[i] to begin[i + 1]; begin [n + 1] i64;
//             empty_context [T, D]: of no text; captions: m lines. Name: its image's; all are empty where item i
//             belongs to the i-th image

struct ShardPlan {
  std::string kind;           // "images" or "text"
  int64_t items = 0;          // of the whole data set
  int64_t items_a_shard = 0;  // but for the last, and before broken ones are left out
  LogFields made;             // all that the bytes depend on: settings, what was encoded, by what
  std::vector<std::string> class_names = {};
};

struct ShardContents {
  std::vector<std::string> names;  // [n]
  std::vector<NamedTensor> tensors;
  std::vector<std::string> left_out = {};  // broken items, and why
};

struct ShardTotals {
  int64_t items = 0, left_out = 0, bytes = 0;
};

// Writes such a set, one shard at a time, in any order and from several processes that share a folder: each shard by
// one of them. A shard has its name only when it is whole and on the disk, so that a call which was stopped or killed
// is finished by making it again, with the same bytes.
class TensorShardWriter {
 public:
  // Makes the folder and looks which shards are whole. Throws Error if it cannot, or if there are shards of this kind
  // that were made of other items or with other settings.
  TensorShardWriter(const std::filesystem::path& folder, ShardPlan plan);

  int shards() const { return static_cast<int>(whole_.size()); }
  Rows items(int shard) const;  // of the data set
  bool whole(int shard) const { return whole_[static_cast<size_t>(shard)]; }

  // Writes that shard; no item may be left (then it has no tensors). Throws Error naming the path when the disk is
  // full, and if a number is not finite, as one that is too large for f16.
  void write(int shard, const ShardContents& contents);
  // Of the shards that are whole.
  ShardTotals totals() const;
  // By one process, when all shards are: writes the index. Throws Error naming a shard that is not.
  void finish() const;

 private:
  std::filesystem::path path(int shard) const;

  std::filesystem::path folder_;
  ShardPlan plan_;
  std::string made_;         // plan_.made as JSON
  std::vector<bool> whole_;  // by shard
};

// Reads it, by mapping the shards: the members may be called from several threads at once.
class TensorShards {
 public:
  // Throws Error if there is no index, or a shard is absent, damaged or not the index's: it names the file.
  TensorShards(const std::filesystem::path& folder, const std::string& kind);
  // Whether folder has anything of this kind.
  static bool any(const std::filesystem::path& folder, const std::string& kind);

  struct Place {
    const SafetensorsFile& shard;
    int64_t row;
  };
  int64_t items() const { return first_.back(); }
  Place at(int64_t item) const;
  // Shards that hold items, in their order, and how many items come before each (and in all of them).
  const std::vector<SafetensorsFile>& shards() const { return shards_; }
  const std::vector<int64_t>& first() const { return first_; }
  std::vector<std::string> names() const;  // of all items
  // Reads all of it (0 threads: one per core) and compares it with the checksums: a line for each damaged shard.
  std::vector<std::string> damage(int threads) const;

  const std::vector<std::string>& class_names() const { return class_names_; }
  // A value of ShardPlan::made as text; "" if there is none. And all of them, in order.
  std::string made(const std::string& key) const;
  const std::vector<std::pair<std::string, std::string>>& made() const { return made_; }
  int64_t left_out() const { return left_out_; }  // items that were broken

 private:
  std::filesystem::path index_;
  std::vector<SafetensorsFile> shards_;
  std::vector<int64_t> first_{0};
  std::vector<std::string> class_names_;
  std::vector<std::pair<std::string, std::string>> made_;
  int64_t left_out_ = 0;
};

}  // namespace uvic
