#include "kernels/ops/readback.h"

#include "kernels/ops/check.h"
#include "kernels/ops/transfer.h"

namespace uvic {

namespace cuda {
void upload(Context& ctx, Tensor from, Tensor to);
// In kernels/cuda/memory.cpp. Marks the end of ctx's work so far; makes a mark if there is none.
void set_mark(Context& ctx, std::shared_ptr<void>& mark);
void wait_for(Context& ctx, const std::shared_ptr<void>& mark);
}  // namespace cuda

Readback::Readback(Context& ctx, size_t bytes) : ctx_(ctx), host_(host_memory_for(ctx.device()), bytes) {}

Readback::~Readback() {
  try {
    wait();
  } catch (const Error&) {  // a GPU that has failed copies no more
  }
}

Tensor Readback::add(Tensor t) {
  const Tensor to = host_.tensor(t.dtype(), t.shape(), used_);
  used_ += (t.bytes() + 7) / 8 * 8;
  if (on_cpu(ctx_)) {
    download(ctx_, t, to);
  } else {
    cuda::upload(ctx_, t, to);
    cuda::set_mark(ctx_, arrived_);
  }
  return to;
}

void Readback::wait() {
  if (arrived_) cuda::wait_for(ctx_, arrived_);
  arrived_.reset();
}

}  // namespace uvic
