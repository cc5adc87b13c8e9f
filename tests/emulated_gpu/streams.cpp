#include <unistd.h>

#include <condition_variable>
#include <thread>
#include <utility>

#include "queue.h"

namespace emulated_gpu {
namespace {

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

bool is_default(cudaStream_t stream) { return !stream || stream == cudaStreamLegacy; }

}  // namespace

std::set<cudaStream_t>& all_streams() {
  static std::set<cudaStream_t> streams;
  return streams;
}

std::unique_lock<std::recursive_mutex> lock() {
  static std::recursive_mutex mutex;
  return std::unique_lock(mutex);
}

int device_of(cudaStream_t stream) {
  if (is_default(stream)) return current_device();
  return all_streams().count(stream) ? stream->queue->device : -1;
}

bool is_recording(cudaStream_t stream) { return all_streams().count(stream) && stream->queue->recording; }

cudaError_t enqueue(cudaStream_t stream, std::function<void()> work) {
  if (device_of(stream) != current_device()) return cudaErrorInvalidResourceHandle;
  if (is_default(stream)) {
    ++calls().waits;
    const cudaError_t status = finish(stream);
    if (status == cudaSuccess) on_worker(work);
    return status;
  }
  Queue& queue = *stream->queue;
  if (!queue.recording) {
    queue.push(std::move(work));
    return cudaSuccess;
  }
  Recording& recording = *queue.recording;
  recording.work.push_back(std::move(work));
  if (&queue != recording.origin) recording.unjoined[&queue] = recording.work.size();
  return recording.invalid ? cudaErrorStreamCaptureInvalidated : cudaSuccess;
}

cudaError_t finish(cudaStream_t stream) {
  if (device_of(stream) < 0) return cudaErrorInvalidResourceHandle;
  if (!is_default(stream)) {
    if (const auto& recording = stream->queue->recording) {
      recording->invalid = true;
      return cudaErrorStreamCaptureUnsupported;
    }
    finish(*stream->queue, stream->queue->queued);
    return cudaSuccess;
  }
  for (const cudaStream_t other : all_streams()) {
    const Queue& queue = *other->queue;
    if (!queue.blocking || queue.device != current_device() || !queue.recording) continue;
    queue.recording->invalid = true;
    return cudaErrorStreamCaptureImplicit;
  }
  for (const cudaStream_t other : all_streams())
    if (other->queue->blocking && other->queue->device == current_device()) finish(*other->queue, other->queue->queued);
  return cudaSuccess;
}

void finish(int device) {
  for (const cudaStream_t stream : all_streams())
    if (stream->queue->device == device) finish(*stream->queue, stream->queue->queued);
}

}  // namespace emulated_gpu

using namespace emulated_gpu;

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  const auto hold = lock();
  *stream = new CUstream_st{std::make_shared<Queue>(Queue{current_device(), flags != cudaStreamNonBlocking, {}})};
  all_streams().insert(*stream);
  return cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t* stream) { return cudaStreamCreateWithFlags(stream, cudaStreamDefault); }

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const auto hold = lock();
  if (!all_streams().count(stream)) return record(cudaErrorInvalidResourceHandle);
  finish(stream);
  all_streams().erase(stream);
  delete stream;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  ++calls().waits;
  const auto hold = lock();
  return record(finish(stream));
}

cudaError_t cudaDeviceSynchronize() {
  ++calls().waits;
  const auto hold = lock();
  if (disturbs_recording()) return record(cudaErrorStreamCaptureUnsupported);
  finish(current_device());
  return cudaSuccess;
}

// A stream that waits for an event of a graph becomes part of it; the origin's waiting joins the event's stream again.
static cudaError_t join(cudaStream_t stream, const CUevent_st& event) {
  if (device_of(stream) < 0 || is_default(stream)) return cudaErrorInvalidResourceHandle;
  Queue& queue = *stream->queue;
  Recording& recording = *event.recording;
  if (event.queue->recording != event.recording || (queue.recording && queue.recording != event.recording)) {
    recording.invalid = true;
    return cudaErrorStreamCaptureIsolation;
  }
  queue.recording = event.recording;
  if (&queue != recording.origin) {
    recording.unjoined[&queue] = recording.work.size();
  } else if (const auto other = recording.unjoined.find(event.queue.get());
             other != recording.unjoined.end() && other->second <= event.position) {
    recording.unjoined.erase(other);
  }
  return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const auto hold = lock();
  if (!event->queue) return cudaSuccess;
  if (event->recording) return record(join(stream, *event));
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
  event->recording = event->queue ? event->queue->recording : nullptr;
  event->position = !event->queue ? 0 : event->recording ? event->recording->work.size() : event->queue->queued;
  return cudaSuccess;
}

// Who asks again and again sees the GPU go on by one piece of work each time.
cudaError_t cudaEventQuery(cudaEvent_t event) {
  const auto hold = lock();
  if (event->recording) return record(cudaErrorCapturedEvent);
  if (!event->queue || event->queue->done >= event->position) return cudaSuccess;
  finish(*event->queue, event->queue->done + 1);
  return cudaErrorNotReady;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  ++calls().waits;
  const auto hold = lock();
  if (event->recording) return record(cudaErrorCapturedEvent);
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
