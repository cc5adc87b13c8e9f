#include "app/preview.h"

#include "app/image_io.h"
#include "app/loaded_model.h"
#include "kernels/ops/pointwise.h"

namespace uvic {

GeneratorOptions preview_options(const RunConfig& config) {
  const SampleConfig& c = config.sample;
  GeneratorOptions options{.sampler = {.solver = c.sampler, .steps = c.steps, .order = c.order}};
  options.sampler.prediction = prediction_of(config.diffusion.prediction);
  options.guidance.scale = config.model.null_class ? c.cfg_scale : 1;
  return options;
}

void write_preview(Context& ctx, const RunConfig& config, TrainedModel& model, const Schedule& schedule,
                   const std::filesystem::path& path) {
  const SampleConfig& c = config.sample;
  const UViCConfig& m = config.model;
  if (c.count == 0 || m.condition() == Condition::text || m.in_chans != 3) return;
  auto scope = ctx.scope("preview");
  const Generator generator(model.net, schedule, preview_options(config));
  std::vector<uint64_t> seeds;
  std::vector<int32_t> labels;
  for (int i = 0; i < c.count; ++i) {
    seeds.push_back(c.seed + static_cast<uint64_t>(i));
    if (m.num_classes > 0) labels.push_back(i % m.real_classes());
  }
  Tensor images = ctx.empty(DType::f32, {c.count, 3, m.img_size, m.img_size});
  Tensor pixels = ctx.empty(DType::u8, {c.count, m.img_size, m.img_size, 3});
  model.store.use(ctx, Role::ema);
  generator.generate(ctx, {.seeds = seeds, .labels = labels}, images);
  model.store.use(ctx, Role::master);
  image_to_pixels(ctx, images, pixels);
  Image grid = make_grid(pixels, m.num_classes > 0 && m.real_classes() <= 10 ? m.real_classes() : 0);
  std::filesystem::create_directories(path.parent_path());
  write_png(path, grid.tensor());
}

}  // namespace uvic
