#include "app/data/read_ahead.h"

#include <algorithm>
#include <utility>

#include "kernels/core/error.h"

namespace uvic {

ReadAhead::ReadAhead(const Dataset& data, EpochOrders& orders, int64_t window, int64_t first, int64_t ahead,
                     std::function<bool(int64_t)> wanted)
    : data_(data),
      orders_(orders),
      window_(window),
      first_(first),
      ahead_(ahead),
      wanted_(std::move(wanted)),
      asked_for_(first),
      thread_([this] { run(); }) {}

ReadAhead::~ReadAhead() {
  stop();
  thread_.join();
}

void ReadAhead::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  room_.notify_all();
  arrived_.notify_all();
}

ReadAhead::Read ReadAhead::take(int64_t g) {
  std::unique_lock lock(mutex_);
  if (g > asked_for_) {
    asked_for_ = g;
    room_.notify_one();
  }
  arrived_.wait(lock, [&] { return stopping_ || held_.contains(g); });
  UVIC_CHECK(!stopping_, failure_.empty() ? "reading has stopped" : failure_);
  return std::move(held_.extract(g).mapped());
}

// The image at place j of an epoch is among the first j + window read, so that whoever waits for it is not kept
// waiting by the bound below, whatever else is held.
bool ReadAhead::wait_for_room(int64_t position) {
  std::unique_lock lock(mutex_);
  room_.wait(lock, [&] { return stopping_ || position < asked_for_ + window_ + ahead_; });
  return !stopping_;
}

ReadAhead::Read ReadAhead::read(int64_t i) {
  try {
    return {data_.read(i, open_), {}};
  } catch (const std::exception& e) {
    return {{}, e.what()};
  }
}

void ReadAhead::run() {
  try {
    read_epochs();
  } catch (const std::exception& e) {  // no memory for an order
    {
      const std::lock_guard lock(mutex_);
      failure_ = concat(data_.path(), ": ", e.what());
    }
    stop();
  }
}

void ReadAhead::read_epochs() {
  for (int64_t epoch = first_ / data_.size();; ++epoch) {
    const auto order = orders_.of(epoch);
    for (size_t position = 0; position < order->reading.size(); ++position) {
      const size_t place = order->reading[position];
      const int64_t begin = epoch * data_.size(), g = begin + static_cast<int64_t>(place);
      if (g < first_ || !wanted_(g)) continue;
      if (!wait_for_room(begin + static_cast<int64_t>(position))) return;
      Read held = read(order->images[place]);
      const std::lock_guard lock(mutex_);
      held_.emplace(g, std::move(held));
      arrived_.notify_all();
    }
  }
}

}  // namespace uvic
