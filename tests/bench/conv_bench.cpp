// The last layer, a 3 x 3 convolution of as many channels as the image has: three or four, so its arithmetic is f32 on
// vectors whatever the dtype. (H has no such layer; it is timed at its shape all the same.)

#include "kernels/ops/conv.h"

#include "tests/bench/cases.h"

namespace uvic {
namespace {

void make(Context& ctx, const UViCConfig& c, DType dtype, bool backward, Job& job) {
  const int64_t C = c.in_chans, side = c.img_size;
  const Conv2dArgs args{job.random(dtype, {kBatch, C, side, side}), job.random(dtype, {C, C, 3, 3}),
                        job.random(dtype, {C})};
  const Tensor y = job.random(DType::f32, args.x.shape());
  job.flop = static_cast<double>(2 * 9 * C * C * kBatch * side * side) * (backward ? 2 : 1);
  job.label = args.x.shape().str();
  if (backward) {
    const Tensor dx = job.zeros(dtype, args.x.shape()), dw = job.zeros(DType::f32, args.w.shape());
    const Tensor db = job.zeros(DType::f32, args.b.shape());
    job.run = [=, &ctx] { conv2d_backward(ctx, args, y, dx, dw, db); };
  } else {
    job.run = [=, &ctx] { conv2d_forward(ctx, args, y); };
  }
}

const bool registered = [] {
  for (const bool backward : {false, true})
    register_cases(concat("conv2d/", backward ? "backward" : "forward"), networks(), working_dtypes(), vector_isas(),
                   [=](Context& ctx, const UViCConfig& c, DType dtype, Job& j) { make(ctx, c, dtype, backward, j); });
  return true;
}();

}  // namespace
}  // namespace uvic
