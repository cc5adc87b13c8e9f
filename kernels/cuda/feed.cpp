#include "kernels/core/feed.h"

#include "kernels/cuda/device.h"

namespace uvic::cuda {
namespace {

// A blocking stream, as that of the work: new memory is zeroed by the default stream, before anything is copied there.
struct Copies {
  explicit Copies(Context& ctx) : places{Place(ctx.device()), Place(ctx.device())} {
    UVIC_CUDA_CHECK(cudaStreamCreate(&stream));
    for (cudaEvent_t* event : {&copied, &places[0].used, &places[1].used})
      UVIC_CUDA_CHECK(cudaEventCreateWithFlags(event, cudaEventDisableTiming));
  }
  ~Copies() {
    for (const cudaEvent_t event : {copied, places[0].used, places[1].used})
      if (event) cudaEventDestroy(event);
    if (stream) cudaStreamDestroy(stream);
  }
  Copies(const Copies&) = delete;
  Copies& operator=(const Copies&) = delete;

  struct Place {
    explicit Place(Device device) : memory(device) {}
    Arena memory;
    cudaEvent_t used = nullptr;  // by all work that may read its load
  };
  cudaStream_t stream = nullptr;
  cudaEvent_t copied = nullptr;
  Place places[2];
  Place* place = &places[0];
};

Copies& in(Context& ctx, std::shared_ptr<void>& copies) {
  state(ctx);  // makes its GPU the calling thread's
  if (!copies) copies = std::make_shared<Copies>(ctx);
  return *static_cast<Copies*>(copies.get());
}

}  // namespace

void feed_turn(Context& ctx, std::shared_ptr<void>& copies) {
  Copies& c = in(ctx, copies);
  UVIC_CUDA_CHECK(cudaEventRecord(c.place->used, state(ctx).stream));
  c.place = c.place == &c.places[0] ? &c.places[1] : &c.places[0];
  UVIC_CUDA_CHECK(cudaStreamWaitEvent(c.stream, c.place->used, 0));
  c.place->memory.reset();
}

Tensor feed_take(Context& ctx, std::shared_ptr<void>& copies, Tensor from) {
  Copies& c = in(ctx, copies);
  const Tensor to = c.place->memory.tensor(from.dtype(), from.shape());
  UVIC_CUDA_CHECK(cudaMemcpyAsync(to.raw(), from.raw(), from.bytes(), cudaMemcpyHostToDevice, c.stream));
  return to;
}

void feed_join(Context& ctx, std::shared_ptr<void>& copies) {
  Copies& c = in(ctx, copies);
  UVIC_CUDA_CHECK(cudaEventRecord(c.copied, c.stream));
  UVIC_CUDA_CHECK(cudaStreamWaitEvent(state(ctx).stream, c.copied, 0));
}

}  // namespace uvic::cuda
