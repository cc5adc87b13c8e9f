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
  constexpr int64_t kInputs = 1024, kOutputs = 1024, kLeastRows = 64, kMostRows = 4096;
  constexpr double kSeconds = 0.1;
  Context ctx({.device = caller.device(), .threads = caller.threads(), .isa = caller.isa()});
  double best = 0;
  const double start = now();
  for (int64_t rows = kLeastRows; rows <= kMostRows && now() - start < kSeconds; rows *= 2) {
    ctx.arena().reset();
    const LinearArgs args{.x = made_up_noise(ctx, dtype, {rows, kInputs}, 0),
                          .w = made_up_noise(ctx, dtype, {kOutputs, kInputs}, 1)};
    Tensor y = ctx.empty(dtype, {rows, kOutputs});
    linear_forward(ctx, args, y);  // the first of a size makes a plan
    for (int turn = 0; turn < 3; ++turn) {
      const double from = now();
      linear_forward(ctx, args, y);
      best = std::max(best, 2.0 * static_cast<double>(rows * kInputs * kOutputs) / (now() - from));
    }
  }
  return best;
}

}  // namespace uvic
