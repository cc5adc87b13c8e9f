#include "app/encode_shards.h"

#include <optional>

#include "app/data/folder_lock.h"
#include "kernels/core/error.h"

namespace uvic {

EncodeOutcome encode_shards(const EncodeShards& job, Progress::Style style, const Processes& processes) {
  TensorShardWriter writer(job.out, job.plan);
  std::optional<FolderLock> lock;  // by the first process, for all of them
  if (processes.first()) lock.emplace(job.out, job.plan.kind);
  const auto own = [&](int shard) { return shard % processes.size() == processes.rank() && !writer.whole(shard); };
  EncodeOutcome outcome;
  int64_t todo = 0;
  for (int shard = 0; shard < writer.shards(); ++shard) {
    outcome.kept += writer.whole(shard);
    if (own(shard)) todo += job.units(writer.items(shard));
  }
  Progress progress(processes.alone() ? "encode" : "encode, this process's share", job.unit, todo,
                    processes.first() ? style : Progress::Style::quiet);
  if (outcome.kept > 0) progress.say(concat("kept ", outcome.kept, " whole shards in ", job.out.string()));
  bool stopped = false;
  for (int shard = 0; shard < writer.shards() && !stopped; ++shard)
    if (own(shard)) stopped = !job.encode(writer, shard, progress);
  progress.finish();
  outcome.interrupted = processes.any(stopped);  // so that all have written theirs
  if (!processes.first()) return outcome;
  const TensorShardWriter all(job.out, job.plan);  // what the other processes wrote, too
  const ShardTotals totals = all.totals();
  outcome.items = totals.items, outcome.left_out = totals.left_out;
  for (int shard = 0; shard < all.shards(); ++shard) outcome.shards += all.whole(shard);
  UVIC_CHECK(totals.items > 0 || outcome.interrupted, job.from.string(), ": every ", job.unit, " is broken");
  if (!outcome.interrupted) all.finish();
  return outcome;
}

}  // namespace uvic
