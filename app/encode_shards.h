#pragma once

#include <functional>
#include <string>

#include "app/data/tensor_shards.h"
#include "app/processes.h"
#include "app/progress.h"

namespace uvic {

// What uvic-encode does with data of any kind: which process encodes which shard, what it says, when there is an index.
struct EncodeShards {
  std::filesystem::path from, out;
  ShardPlan plan;
  std::string unit;                          // what progress counts: "image", "caption"
  std::function<int64_t(Rows items)> units;  // of these items
  // Encodes and writes that shard, counting on; false if it was stopped.
  std::function<bool(TensorShardWriter& writer, int shard, Progress& progress)> encode;
};

struct EncodeOutcome {
  int64_t items = 0;     // in the shards
  int64_t left_out = 0;  // broken; each is named on stderr
  int shards = 0;        // whole
  int kept = 0;          // of these: found whole, from an earlier call
  bool interrupted = false;
};

// Every process makes the call; each encodes some of the shards that are not whole, and the first, which gets the
// outcome, writes the index if none was stopped. Throws Error as TensorShardWriter does, if another call is writing the
// same kind into the folder, and if every item is broken.
EncodeOutcome encode_shards(const EncodeShards& job, Progress::Style style, const Processes& processes);

}  // namespace uvic
