#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <set>
#include <thread>
#include <utility>

#include "gpu.h"

namespace emulated_gpu {
namespace {

using Clock = std::chrono::steady_clock;

struct Queue {
  int device;
  bool blocking;  // waits for the default stream, and the other way round
  std::deque<std::function<void()>> work;
  uint64_t queued = 0, done = 0;

  void push(std::function<void()> w) {
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

// Kernels and copies run here. Shared memory is this thread's thread_local memory.
class Worker {
 public:
  Worker() : thread_([this] { serve(); }) { thread_.detach(); }
  void run(const std::function<void()>& work) {
    std::unique_lock hold(mutex_);
    work_ = &work;
    changed_.notify_all();
    changed_.wait(hold, [this] { return !work_; });
  }
  const pid_t process = getpid();

 private:
  void serve() {
    install_fault_handler();
    use_own_fault_stack();
    std::unique_lock hold(mutex_);
    for (;;) {
      changed_.wait(hold, [this] { return work_ != nullptr; });
      (*work_)();
      work_ = nullptr;
      changed_.notify_all();
    }
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  const std::function<void()>* work_ = nullptr;
  std::thread thread_;
};

void on_worker(const std::function<void()>& work) {
  static Worker* worker = nullptr;  // never destroyed: a program may end with work queued
  if (!worker || worker->process != getpid()) worker = new Worker;  // a fork has no threads
  worker->run([&] {
    const Access access;
    work();
  });
}

void finish(Queue& queue, uint64_t position) {
  if (queue.done < position) on_worker([&] { queue.run_until(position); });
}

std::set<cudaStream_t> streams;

}  // namespace
}  // namespace emulated_gpu

struct CUstream_st {
  std::shared_ptr<emulated_gpu::Queue> queue;
};
struct CUevent_st {
  std::shared_ptr<emulated_gpu::Queue> queue;  // null where it was recorded in the default stream, or never
  uint64_t position = 0;
  std::shared_ptr<emulated_gpu::Clock::time_point> time;
};

namespace emulated_gpu {
namespace {

bool is_default(cudaStream_t stream) { return !stream || stream == cudaStreamLegacy; }

}  // namespace

std::unique_lock<std::recursive_mutex> lock() {
  static std::recursive_mutex mutex;
  return std::unique_lock(mutex);
}

int device_of(cudaStream_t stream) {
  if (is_default(stream)) return current_device();
  return streams.count(stream) ? stream->queue->device : -1;
}

cudaError_t enqueue(cudaStream_t stream, std::function<void()> work) {
  if (device_of(stream) != current_device()) return cudaErrorInvalidResourceHandle;
  if (!is_default(stream)) {
    stream->queue->push(std::move(work));
    return cudaSuccess;
  }
  finish(stream);
  on_worker(work);
  return cudaSuccess;
}

cudaError_t finish(cudaStream_t stream) {
  if (device_of(stream) < 0) return cudaErrorInvalidResourceHandle;
  if (!is_default(stream)) {
    finish(*stream->queue, stream->queue->queued);
    return cudaSuccess;
  }
  for (const cudaStream_t other : streams)
    if (other->queue->blocking && other->queue->device == current_device()) finish(*other->queue, other->queue->queued);
  return cudaSuccess;
}

void finish(int device) {
  for (const cudaStream_t stream : streams)
    if (stream->queue->device == device) finish(*stream->queue, stream->queue->queued);
}

}  // namespace emulated_gpu

using namespace emulated_gpu;

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  const auto hold = lock();
  *stream = new CUstream_st{std::make_shared<Queue>(Queue{current_device(), flags != cudaStreamNonBlocking, {}})};
  streams.insert(*stream);
  return cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t* stream) { return cudaStreamCreateWithFlags(stream, cudaStreamDefault); }

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const auto hold = lock();
  if (!streams.count(stream)) return record(cudaErrorInvalidResourceHandle);
  finish(stream);
  streams.erase(stream);
  delete stream;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const auto hold = lock();
  return record(finish(stream));
}

cudaError_t cudaDeviceSynchronize() {
  const auto hold = lock();
  finish(current_device());
  return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const auto hold = lock();
  if (!event->queue) return cudaSuccess;
  return record(enqueue(stream, [queue = event->queue, to = event->position] { queue->run_until(to); }));
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CUevent_st;
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const auto hold = lock();
  event->time = std::make_shared<Clock::time_point>();
  const cudaError_t status = enqueue(stream, [time = event->time] { *time = Clock::now(); });
  if (status != cudaSuccess) return record(status);
  event->queue = is_default(stream) ? nullptr : stream->queue;
  event->position = event->queue ? event->queue->queued : 0;
  return cudaSuccess;
}

// Who asks again and again sees the GPU go on by one piece of work each time.
cudaError_t cudaEventQuery(cudaEvent_t event) {
  const auto hold = lock();
  if (!event->queue || event->queue->done >= event->position) return cudaSuccess;
  finish(*event->queue, event->queue->done + 1);
  return cudaErrorNotReady;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const auto hold = lock();
  if (event->queue) finish(*event->queue, event->position);
  return cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  const auto hold = lock();
  if (!start->time || !end->time) return record(cudaErrorInvalidResourceHandle);
  for (const cudaEvent_t event : {start, end})
    if (event->queue && event->queue->done < event->position) return cudaErrorNotReady;
  *milliseconds = std::chrono::duration<float, std::milli>(*end->time - *start->time).count();
  return cudaSuccess;
}
