#include "app/made_up.h"

#include <vector>

#include "kernels/ops/pointwise.h"
#include "kernels/ops/transfer.h"

namespace uvic {
namespace {

Tensor filled(Context& ctx, int64_t n, float value) { return upload(ctx, std::vector(static_cast<size_t>(n), value)); }

}  // namespace

Tensor made_up_noise(Context& ctx, DType dtype, Shape shape, uint32_t draw) {
  Tensor f = ctx.empty(DType::f32, shape), out = ctx.empty(dtype, shape);
  const RandomKey key{1, draw, Stream::initial_noise, 0};
  random_normal(ctx, {&key, 1}, f.view({1, f.numel()}));
  cast(ctx, f, out);
  return out;
}

Conditions made_up_conditions(Context& ctx, const UViCConfig& c, int64_t batch) {
  Conditions out;
  if (c.num_classes > 0) {
    std::vector<int32_t> labels;
    for (int64_t i = 0; i < batch; ++i) labels.push_back(static_cast<int32_t>(i % c.num_classes));
    out.y = upload(ctx, labels);
  }
  if (c.num_clip_token > 0) out.context = made_up_noise(ctx, DType::f32, {batch, c.num_clip_token, c.clip_dim}, 3);
  return out;
}

StepInputs made_up_step(Context& ctx, const UViCConfig& c, int64_t batch) {
  const Shape images{batch, c.in_chans, c.img_size, c.img_size};
  return {.x0 = made_up_noise(ctx, DType::f32, images, 4),
          .eps = made_up_noise(ctx, DType::f32, images, 5),
          .alpha = filled(ctx, batch, 0.8f),
          .sigma = filled(ctx, batch, 0.6f),
          .t = filled(ctx, batch, 500),
          .conditions = made_up_conditions(ctx, c, batch),
          .weight = {}};
}

}  // namespace uvic
