#pragma once

#include <cstdint>
#include <vector>

namespace uvic {

// Training order: every epoch is a new permutation of [0, size), a function of (seed, epoch, size) alone.
std::vector<uint32_t> epoch_order(uint64_t seed, int64_t epoch, int64_t size);

struct EpochOrder {
  std::vector<uint32_t> images;   // in training order: a permutation of [0, size)
  std::vector<uint32_t> reading;  // places in `images`, in the order in which to read them; empty: in any order
};

// The order of an epoch that is read from front to back: the shards in random order, and a window of `window` images
// that slides over them, of which each step takes one at random. shards: the images of each as they lie there. The
// image at place j is among the first j + window read. A function of the arguments alone.
EpochOrder shard_order(uint64_t seed, int64_t epoch, const std::vector<std::vector<uint32_t>>& shards, int64_t window);

}  // namespace uvic
