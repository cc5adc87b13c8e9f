#include "app/generator.h"

#include <algorithm>
#include <array>

#include "kernels/ops/pointwise.h"
#include "kernels/ops/transfer.h"

namespace uvic {
namespace {

// The same label for every image of a batch.
Tensor filled(Context& ctx, int64_t batch, double value) {
  return upload(ctx, std::vector(static_cast<size_t>(batch), static_cast<float>(value)));
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
  validate(options.guidance);
  const UViCConfig& c = net.config();
  const double scale = options.guidance.scale;
  if (!options.guidance.on()) {
    UVIC_CHECK(!options.guide, "--guide-model needs a --cfg-scale other than 1");
    return;
  }
  if (const UViC* guide = options.guide) {
    const UViCConfig& g = guide->config();
    UVIC_CHECK(g.img_size == c.img_size && g.in_chans == c.in_chans && g.num_classes == c.num_classes &&
                   g.num_clip_token == c.num_clip_token && g.clip_dim == c.clip_dim,
               "--guide-model: makes other images, or from other conditions, than the model it is to guide");
    return;
  }
  UVIC_CHECK(c.condition() != Condition::none, "--cfg-scale ", scale, ": this model has no condition to guide");
  UVIC_CHECK(c.condition() != Condition::label || c.null_class, "--cfg-scale ", scale,
             ": this model has no null class, which guidance needs");
}

Denoiser Generator::denoiser(Context& ctx, const Request& request) const {
  const UViCConfig& c = net_.config();
  const int64_t batch = static_cast<int64_t>(request.seeds.size());
  const auto call = [](const UViC& net, const Conditions& conditions) -> Denoiser {
    return [&net, conditions](Context& context, Tensor x, double label, Tensor out) {
      net.forward(context, x, filled(context, x.dim(0), label), conditions, out);
    };
  };
  Conditions negative, positive, both;
  if (c.num_classes > 0) {
    std::vector<int32_t> labels(static_cast<size_t>(batch),
                                request.negative_label < 0 ? c.num_classes - 1 : request.negative_label);
    labels.insert(labels.end(), request.labels.begin(), request.labels.end());
    const Tensor y = upload(ctx, labels);
    negative.y = y.rows(0, batch);
    positive.y = y.rows(batch, 2 * batch);
    both.y = y;
  }
  if (c.num_clip_token > 0) {
    negative.context = request.null_context;
    positive.context = request.context;
    if (options_.guidance.on() && !options_.guide) both.context = stacked(ctx, request.null_context, request.context);
  }
  if (request.other_labels.empty() && !options_.guide)
    return guided(call(net_, positive), call(net_, both), options_.guidance, schedule_);

  Denoiser conditional = call(net_, positive);
  if (!request.other_labels.empty()) {
    Conditions other;
    other.y = upload(ctx, request.other_labels);
    std::vector<float> others;
    for (const float own : request.share) others.push_back(1 - own);
    const Tensor share = upload(ctx, request.share), rest = upload(ctx, others);
    conditional = [first = conditional, second = call(net_, other), rest, share](Context& context, Tensor x,
                                                                                 double label, Tensor out) {
      const Tensor a = context.like(x), b = context.like(x);
      first(context, x, label, a);
      second(context, x, label, b);
      noising(context, a, b, rest, share, out);
    };
  }
  const Denoiser unconditional = options_.guide ? call(*options_.guide, positive) : call(net_, negative);
  const Denoiser paired = [=](Context& context, Tensor x, double label, Tensor out) {
    unconditional(context, x.rows(0, batch), label, out.rows(0, batch));
    conditional(context, x.rows(batch, 2 * batch), label, out.rows(batch, 2 * batch));
  };
  return guided(conditional, paired, options_.guidance, schedule_);
}

void Generator::generate(Context& ctx, const Request& request, Tensor images, const StepObserver& observe) const {
  const UViCConfig& c = net_.config();
  const int64_t batch = static_cast<int64_t>(request.seeds.size());
  const Shape want{batch, c.in_chans, c.img_size, c.img_size};
  UVIC_CHECK(images.shape() == want, "generate: images ", images.shape(), " is not ", want);
  UVIC_CHECK(c.num_classes <= 0 || request.labels.size() == request.seeds.size(), "generate: ", request.labels.size(),
             " labels for ", batch, " images");
  UVIC_CHECK(request.other_labels.size() == request.share.size(), "generate: ", request.other_labels.size(),
             " labels to mix in, ", request.share.size(), " shares");
  auto scope = ctx.scope("generate");
  if (!request.noise_given) initial_noise(ctx, request.seeds, images);
  if (request.init) {
    UVIC_CHECK(request.init.shape() == want, "generate: init ", request.init.shape(), " is not ", want);
    const NoiseLevel level = schedule_.at(start_time(schedule_, options_.sampler));
    linear_combination(ctx, std::array<Term, 2>{{{level.alpha, request.init}, {level.sigma, images}}}, images);
  }
  const KnownPixels known = request.keep ? KnownPixels{request.init, request.keep} : KnownPixels{};
  const NoiseSource noise = solver_noise(ctx, {request.seeds.begin(), request.seeds.end()});
  sample(ctx, schedule_, denoiser(ctx, request), options_.sampler, noise, images, observe, known);
  if (request.keep) blend(ctx, request.keep, request.init, images);
}

}  // namespace uvic
