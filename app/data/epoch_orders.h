#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "app/data/order.h"

namespace uvic {

// The orders of the epochs that are in use, each made once. Thread-safe.
class EpochOrders {
 public:
  // make: the order of an epoch, of size samples. span: the samples in use at any time lie within so many of each
  // other.
  EpochOrders(std::function<EpochOrder(int64_t)> make, int64_t size, int64_t span)
      : make_(std::move(make)), epochs_(span / size + 2) {}

  std::shared_ptr<const EpochOrder> of(int64_t epoch) {
    const std::lock_guard lock(mutex_);
    auto& found = orders_[epoch];
    if (!found) {
      found = std::make_shared<const EpochOrder>(make_(epoch));
      std::erase_if(orders_, [&](const auto& item) { return item.first < epoch - epochs_; });
    }
    return found;
  }

 private:
  const std::function<EpochOrder(int64_t)> make_;
  const int64_t epochs_;
  std::mutex mutex_;
  std::map<int64_t, std::shared_ptr<const EpochOrder>> orders_;
};

}  // namespace uvic
