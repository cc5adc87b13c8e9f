#include "app/data/order.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "kernels/core/philox.h"

namespace uvic {
namespace {

// What a shuffling draw is for: an epoch's permutation, the order of its shards, or its window.
enum Purpose : uint32_t { kPermutation = 0, kShards = 1, kWindow = 2 };

// 64 random bits for each draw leave a bias below bound / 2^64. Block i / 2 holds the bits of draw i.
class Draws {
 public:
  Draws(uint64_t seed, int64_t epoch, Purpose purpose)
      : key_{seed, static_cast<uint32_t>(epoch), Stream::shuffling, purpose} {}

  size_t below(size_t bound, size_t i) {
    if (const auto block = static_cast<uint32_t>(i / 2); block != block_) bits_ = philox(key_, block_ = block);
    const uint64_t r = uint64_t{bits_.v[i % 2 * 2]} << 32 | bits_.v[i % 2 * 2 + 1];
    return static_cast<size_t>(static_cast<unsigned __int128>(r) * bound >> 64);
  }

 private:
  RandomKey key_;
  uint32_t block_ = ~0u;
  Random4 bits_{};
};

// Fisher-Yates.
std::vector<uint32_t> permutation(Draws draws, size_t size) {
  std::vector<uint32_t> order(size);
  std::iota(order.begin(), order.end(), 0u);
  for (size_t i = size; i-- > 1;) std::swap(order[i], order[draws.below(i + 1, i)]);
  return order;
}

}  // namespace

std::vector<uint32_t> epoch_order(uint64_t seed, int64_t epoch, int64_t size) {
  return permutation({seed, epoch, kPermutation}, static_cast<size_t>(size));
}

EpochOrder shard_order(uint64_t seed, int64_t epoch, const std::vector<std::vector<uint32_t>>& shards, int64_t window) {
  std::vector<uint32_t> stream;
  for (const uint32_t shard : permutation({seed, epoch, kShards}, shards.size()))
    stream.insert(stream.end(), shards[shard].begin(), shards[shard].end());

  EpochOrder order;
  order.reading.resize(stream.size());
  order.images.reserve(stream.size());
  Draws draws(seed, epoch, kWindow);
  std::vector<uint32_t> held(std::min(stream.size(), static_cast<size_t>(window)));  // places in stream
  std::iota(held.begin(), held.end(), 0u);
  for (size_t next = held.size(); !held.empty();) {
    const size_t place = order.images.size();
    uint32_t& taken = held[draws.below(held.size(), place)];
    order.images.push_back(stream[taken]);
    order.reading[taken] = static_cast<uint32_t>(place);
    if (next < stream.size()) {
      taken = static_cast<uint32_t>(next++);
    } else {
      taken = held.back();
      held.pop_back();
    }
  }
  return order;
}

}  // namespace uvic
