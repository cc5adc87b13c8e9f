#include "queue.h"

using namespace emulated_gpu;

struct CUgraph_st {
  int device;
  std::shared_ptr<std::vector<Work>> work;
  std::shared_ptr<void> group;
};
struct CUgraphExec_st : CUgraph_st {};

namespace emulated_gpu {
namespace {

// Of the calling thread, which may record into one stream at a time: more than uvic does is not emulated.
thread_local std::weak_ptr<Recording> own_recording;

}  // namespace

bool disturbs_recording() {
  const auto recording = own_recording.lock();
  if (recording) recording->invalid = true;
  return recording != nullptr;
}

}  // namespace emulated_gpu

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  const auto hold = lock();
  if (!all_streams().count(stream)) return record(cudaErrorInvalidResourceHandle);
  if (stream->queue->recording || own_recording.lock()) return record(cudaErrorStreamCaptureUnsupported);
  stream->queue->recording = std::make_shared<Recording>(Recording{stream->queue.get(), {}, {}});
  own_recording = stream->queue->recording;
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const auto hold = lock();
  *graph = nullptr;
  if (!all_streams().count(stream)) return record(cudaErrorInvalidResourceHandle);
  const auto recording = stream->queue->recording;
  if (!recording || recording->origin != stream->queue.get()) return record(cudaErrorInvalidValue);
  for (const cudaStream_t other : all_streams())
    if (other->queue->recording == recording) other->queue->recording = nullptr;
  own_recording.reset();
  const auto group = std::move(recording->group);
  if (recording->invalid) return record(cudaErrorStreamCaptureInvalidated);
  if (!recording->unjoined.empty()) return record(cudaErrorStreamCaptureUnjoined);
  *graph =
      new CUgraph_st{stream->queue->device, std::make_shared<std::vector<Work>>(std::move(recording->work)), group};
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  *exec = new CUgraphExec_st{*graph};
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  const auto hold = lock();
  if (device_of(stream) != exec->device) return record(cudaErrorInvalidValue);
  ++calls().graphs;
  const cudaError_t status = enqueue(stream, [work = exec->work] {
    for (const Work& w : *work) w();
  });
  return record(status == cudaSuccess && exec->group ? finish(stream) : status);
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;
  return cudaSuccess;
}
