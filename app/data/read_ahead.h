#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "app/data/epoch_orders.h"
#include "app/dataset.h"

namespace uvic {

// Reads a sequential data set from front to back on a thread of its own, and keeps what it read until it is taken:
// data.shuffle_buffer images and a few more. What the bytes are used for does not depend on it.
class ReadAhead {
 public:
  // Of the samples from `first` on, those that wanted(g) is true for; the others are passed over unread. ahead: how
  // many samples may be read before they are asked for, beside the window. data and orders must outlive it.
  ReadAhead(const Dataset& data, EpochOrders& orders, int64_t window, int64_t first, int64_t ahead,
            std::function<bool(int64_t)> wanted);
  ~ReadAhead();

  struct Read {
    std::vector<uint8_t> bytes;
    std::string error;  // why they could not be read, if not empty
  };
  // Sample g; waits until it is read. Each is to be taken once. Throws Error after stop().
  Read take(int64_t g);

  void stop();  // threads that wait in take() come back

 private:
  void run();
  void read_epochs();
  bool wait_for_room(int64_t position);  // false: stop
  Read read(int64_t i);

  const Dataset& data_;
  EpochOrders& orders_;
  const int64_t window_, first_, ahead_;
  const std::function<bool(int64_t)> wanted_;
  std::unique_ptr<ByteFile> open_;  // the shard it is at: reopened, it would not be read ahead by the system

  std::mutex mutex_;  // of what follows
  std::condition_variable room_, arrived_;
  std::map<int64_t, Read> held_;  // by sample
  int64_t asked_for_;             // the largest sample that anybody waited for
  std::string failure_;           // of the thread itself
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace uvic
