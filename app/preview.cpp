#include "app/preview.h"

#include <cstdio>

#include "app/image_io.h"
#include "app/loaded_model.h"
#include "kernels/ops/pointwise.h"
#include "kernels/ops/transfer.h"

namespace uvic {

GeneratorOptions preview_options(const RunConfig& config) {
  const SampleConfig& c = config.sample;
  GeneratorOptions options{.sampler = {.solver = c.sampler, .steps = c.steps, .order = c.order}};
  options.sampler.prediction = prediction_of(config.diffusion.prediction);
  options.guidance.scale = config.model.null_class ? c.cfg_scale : 1;
  return options;
}

Previews::Previews(const RunConfig& config, const ModelInfo& info, const std::filesystem::path& run, Device device)
    : config_(config),
      on_(config.sample.every > 0 && config.sample.count > 0 && config.model.condition() != Condition::text) {
  if (!on_ || !makes_latents(info)) return;
  try {
    latents_.emplace(info, run, dtype_of_name(config.train.dtype, device), LatentOptions{});
  } catch (const Error& e) {
    std::fprintf(stderr, "uvic-train: no previews: %s\n", e.what());
    on_ = false;
  }
}

bool Previews::due(int64_t step) const {
  return on_ && (step == config_.train.max_steps || step % config_.sample.every == 0);
}

void Previews::write(Context& ctx, TrainedModel& model, const Schedule& schedule,
                     const std::filesystem::path& path) const {
  const SampleConfig& c = config_.sample;
  const UViCConfig& m = config_.model;
  auto scope = ctx.scope("preview");
  const Generator generator(model.net, schedule, preview_options(config_));
  std::vector<uint64_t> seeds;
  std::vector<int32_t> labels;
  for (int i = 0; i < c.count; ++i) {
    seeds.push_back(c.seed + static_cast<uint64_t>(i));
    if (m.num_classes > 0) labels.push_back(i % m.real_classes());
  }
  const Tensor x = ctx.empty(DType::f32, {c.count, m.in_chans, m.img_size, m.img_size});
  model.store.use(ctx, Role::ema);
  generator.generate(ctx, {.seeds = seeds, .labels = labels}, x);
  model.store.use(ctx, Role::master);
  const Tensor images = latents_ ? latents_->decode(ctx, x) : x;
  const Tensor pixels = ctx.empty(DType::u8, {c.count, images.dim(2), images.dim(3), 3});
  image_to_pixels(ctx, images, pixels);
  const OwnedTensor read = on_host(ctx, pixels);
  Image grid = make_grid(read.tensor, m.num_classes > 0 && m.real_classes() <= 10 ? m.real_classes() : 0);
  std::filesystem::create_directories(path.parent_path());
  write_png(path, grid.tensor());
}

}  // namespace uvic
