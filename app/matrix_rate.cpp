#include "app/matrix_rate.h"

#include <algorithm>
#include <chrono>

#include "app/made_up.h"
#include "kernels/ops/linear.h"

namespace uvic {
namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

}  // namespace

double matrix_rate(const Context& caller, DType dtype) {
  constexpr int64_t kWidth = 1024, kLeastRows = 64, kMostRows = 4096;
  constexpr double kSeconds = 0.1;
  Context ctx({.device = caller.device(),
               .threads = caller.threads(),
               .isa = caller.isa(),
               .timed_plans = caller.timed_plans()});
  const bool gpu = ctx.device().kind == DeviceKind::cuda;
  double best = 0, spent = 0;  // what prepares the products does not count: on a GPU that takes longer than they do
  for (int64_t rows = kLeastRows; rows <= (gpu ? 2 : 1) * kMostRows && spent < kSeconds; rows *= 2) {
    ctx.arena().reset();
    const int64_t width = gpu ? rows : kWidth;  // a GPU is not filled by less
    const LinearArgs args{.x = made_up_noise(ctx, dtype, {rows, width}, 0),
                          .w = made_up_noise(ctx, dtype, {width, width}, 1)};
    Tensor y = ctx.empty(dtype, {rows, width});
    linear_forward(ctx, args, y);  // the first of a size makes a plan
    for (int turn = 0; turn < 3; ++turn) {
      synchronize(ctx.device());
      const double from = now();
      linear_forward(ctx, args, y);
      synchronize(ctx.device());
      const double seconds = now() - from;
      best = std::max(best, 2.0 * static_cast<double>(rows * width * width) / seconds);
      spent += seconds;
    }
  }
  return best;
}

}  // namespace uvic
