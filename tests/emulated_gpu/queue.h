#pragma once

// What streams.cpp and graphs.cpp share.

#include <chrono>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "gpu.h"

namespace emulated_gpu {

using Clock = std::chrono::steady_clock;
using Work = std::function<void()>;
struct Queue;

// What a stream, and those that wait for its events, are given between cudaStreamBeginCapture and EndCapture.
struct Recording {
  Queue* origin;
  std::vector<Work> work;             // in the order of the calls: one of the orders that the graph allows
  std::map<Queue*, size_t> unjoined;  // of other streams whose last work, up to here, the origin does not wait for yet
  bool invalid = false;               // something was done that no graph can hold
  std::shared_ptr<void> group;        // of the processes that do some of it together; null if none
};

struct Queue {
  int device;
  bool blocking;  // waits for the default stream, and the other way round
  std::deque<Work> work;
  uint64_t queued = 0, done = 0;
  std::shared_ptr<Recording> recording;  // null but while one goes on

  void push(Work w) {
    work.push_back(std::move(w));
    ++queued;
  }
  void run_until(uint64_t position) {
    while (done < position) {
      const auto next = std::move(work.front());
      work.pop_front();
      ++done;
      next();
    }
  }
};

// Whether the calling thread is recording: it must not allocate, free or wait then. Makes the recording invalid if so.
bool disturbs_recording();
bool is_recording(cudaStream_t stream);
// All streams there are.
std::set<cudaStream_t>& all_streams();

}  // namespace emulated_gpu

struct CUstream_st {
  std::shared_ptr<emulated_gpu::Queue> queue;
};
struct CUevent_st {
  std::shared_ptr<emulated_gpu::Queue> queue;  // null where it was recorded in the default stream, or never
  uint64_t position = 0;
  std::shared_ptr<emulated_gpu::Clock::time_point> time;
  std::shared_ptr<emulated_gpu::Recording> recording;  // null unless it was recorded into a graph
};
