#pragma once

#include <map>
#include <memory>
#include <mutex>

#include "app/dataset.h"

namespace uvic {

// The orders of the epochs that are in use, each made once. Thread-safe.
class EpochOrders {
 public:
  // span: the samples in use at any time lie within so many of each other.
  EpochOrders(const Dataset& data, uint64_t seed, int64_t span)
      : data_(data), seed_(seed), epochs_(span / data.size() + 2) {}

  std::shared_ptr<const EpochOrder> of(int64_t epoch) {
    const std::lock_guard lock(mutex_);
    auto& found = orders_[epoch];
    if (!found) {
      found = std::make_shared<const EpochOrder>(data_.order(seed_, epoch));
      std::erase_if(orders_, [&](const auto& item) { return item.first < epoch - epochs_; });
    }
    return found;
  }

 private:
  const Dataset& data_;
  const uint64_t seed_;
  const int64_t epochs_;
  std::mutex mutex_;
  std::map<int64_t, std::shared_ptr<const EpochOrder>> orders_;
};

}  // namespace uvic
