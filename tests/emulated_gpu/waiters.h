#pragma once

#include <cstddef>
#include <random>
#include <utility>
#include <vector>

namespace emulated_gpu {

// Threads that can go on, in the order in which they were let go.
class Waiters {
 public:
  void reset(size_t threads) { ring_.resize(threads), begin_ = count_ = 0; }
  bool empty() const { return count_ == 0; }
  void push(int thread) { at(count_++) = thread; }
  int take_first() {
    const int thread = at(0);
    begin_ = begin_ + 1 == ring_.size() ? 0 : begin_ + 1;
    --count_;
    return thread;
  }
  int take_last() { return at(--count_); }
  int take_any(std::mt19937& random) {
    std::swap(at(std::uniform_int_distribution<size_t>(0, count_ - 1)(random)), at(count_ - 1));
    return take_last();
  }

 private:
  int& at(size_t i) { return ring_[begin_ + i < ring_.size() ? begin_ + i : begin_ + i - ring_.size()]; }
  std::vector<int> ring_;
  size_t begin_ = 0, count_ = 0;
};

}  // namespace emulated_gpu
