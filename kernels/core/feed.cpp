#include "kernels/core/feed.h"

namespace uvic {

namespace cuda {
// In kernels/cuda/feed.cpp. Makes copies if there are none.
void feed_turn(Context& ctx, std::shared_ptr<void>& copies);
Tensor feed_take(Context& ctx, std::shared_ptr<void>& copies, Tensor from);
void feed_join(Context& ctx, std::shared_ptr<void>& copies);
}  // namespace cuda

void Feed::turn() {
  if (ctx_.device().kind == DeviceKind::cuda) cuda::feed_turn(ctx_, copies_);
}

Tensor Feed::take(Tensor from) {
  if (ctx_.device().kind != DeviceKind::cuda || from.empty()) return from;
  return cuda::feed_take(ctx_, copies_, from);
}

void Feed::join() {
  if (ctx_.device().kind == DeviceKind::cuda) cuda::feed_join(ctx_, copies_);
}

}  // namespace uvic
