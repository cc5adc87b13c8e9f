#include "app/generator.h"

#include <algorithm>

#include "kernels/ops/pointwise.h"

namespace uvic {
namespace {

// The same label for every image of a batch.
Tensor filled(Context& ctx, int64_t batch, double value) {
  Tensor t = ctx.empty(DType::f32, {batch});
  std::fill_n(t.data<float>(), batch, static_cast<float>(value));
  return t;
}

// a's rows, then b's; empty if both are.
Tensor stacked(Context& ctx, Tensor a, Tensor b) {
  if (a.empty()) return {};
  Shape shape{a.dim(0) + b.dim(0)};
  for (int i = 1; i < a.rank(); ++i) shape.push_back(a.dim(i));
  Tensor both = ctx.empty(a.dtype(), shape);
  cast(ctx, a, both.rows(0, a.dim(0)));
  cast(ctx, b, both.rows(a.dim(0), shape[0]));
  return both;
}

}  // namespace

Generator::Generator(const UViC& net, const Schedule& schedule, const GeneratorOptions& options)
    : net_(net), schedule_(schedule), options_(options) {
  validate(schedule, options.sampler);
  const UViCConfig& c = net.config();
  if (!guided()) return;
  UVIC_CHECK(c.condition() != Condition::none, "--cfg-scale ", options.cfg_scale,
             ": this model has no condition to guide");
  UVIC_CHECK(c.condition() != Condition::label || c.null_class, "--cfg-scale ", options.cfg_scale,
             ": this model has no null class, which guidance needs");
}

Denoiser Generator::denoiser(Context& ctx, const Request& request) const {
  const UViCConfig& c = net_.config();
  const int64_t batch = static_cast<int64_t>(request.seeds.size());
  Conditions conditional, paired;
  if (c.num_classes > 0) {
    // [null labels ; labels]: the conditional call uses the second half.
    Tensor y = ctx.empty(DType::i32, {2 * batch});
    std::fill_n(y.data<int32_t>(), batch, c.num_classes - 1);
    std::copy(request.labels.begin(), request.labels.end(), y.data<int32_t>() + batch);
    conditional.y = y.rows(batch, 2 * batch);
    paired.y = y;
  }
  if (c.num_clip_token > 0) {
    conditional.context = request.context;
    if (guided()) paired.context = stacked(ctx, request.null_context, request.context);
  }
  const auto call = [this](const Conditions& conditions) {
    return [this, conditions](Context& context, Tensor x, double label, Tensor out) {
      net_.forward(context, x, filled(context, x.dim(0), label), conditions, out);
    };
  };
  return uvic::guided(call(conditional), call(paired), options_.cfg_scale);
}

void Generator::generate(Context& ctx, const Request& request, Tensor images,
                         const std::function<void(int)>& step) const {
  const UViCConfig& c = net_.config();
  const int64_t batch = static_cast<int64_t>(request.seeds.size());
  const Shape want{batch, c.in_chans, c.img_size, c.img_size};
  UVIC_CHECK(images.shape() == want, "generate: images ", images.shape(), " is not ", want);
  UVIC_CHECK(c.num_classes <= 0 || request.labels.size() == request.seeds.size(), "generate: ", request.labels.size(),
             " labels for ", batch, " images");
  auto scope = ctx.scope("generate");
  if (!request.noise_given) initial_noise(ctx, request.seeds, images);
  const NoiseSource noise = solver_noise(ctx, {request.seeds.begin(), request.seeds.end()});
  sample(ctx, schedule_, denoiser(ctx, request), options_.sampler, noise, images, [&](int i, Tensor) {
    if (step) step(i);
  });
}

}  // namespace uvic
