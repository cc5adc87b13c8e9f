#include "app/run_images.h"

#include <cstdio>

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

RunImages::RunImages(const RunConfig& config, const ModelInfo& info, const std::filesystem::path& run, Device device)
    : config_(config) {
  if (makes_latents(info)) latents_.emplace(info, run, dtype_of_name(config.train.dtype, device), LatentOptions{});
}

bool RunImages::previews_wanted(const RunConfig& config) {
  return config.sample.every > 0 && config.sample.count > 0 && config.model.condition() != Condition::text;
}

std::optional<RunImages> RunImages::if_wanted(const RunConfig& config, const ModelInfo& info,
                                              const std::filesystem::path& run, Device device, bool first) {
  const bool fids = config.eval.fid_every > 0;
  if (!fids && !(first && previews_wanted(config))) return std::nullopt;
  try {
    return std::make_optional<RunImages>(config, info, run, device);
  } catch (const Error& e) {
    if (fids) throw;
    std::fprintf(stderr, "uvic-train: no previews: %s\n", e.what());
    return std::nullopt;
  }
}

OwnedTensor RunImages::make(Context& ctx, const UViC& net, const Schedule& schedule, int64_t first,
                            int64_t count) const {
  const UViCConfig& m = config_.model;
  const int64_t side = m.img_size * (latents_ ? latents_->factor() : 1);
  const Tensor pixels = ctx.empty(DType::u8, {count, side, side, 3});
  const auto scope = ctx.scope("images");
  std::vector<uint64_t> seeds;
  std::vector<int32_t> labels;
  for (int64_t i = first; i < first + count; ++i) {
    seeds.push_back(config_.sample.seed + static_cast<uint64_t>(i));
    if (m.num_classes > 0) labels.push_back(static_cast<int32_t>(i % m.real_classes()));
  }
  const Tensor x = ctx.empty(DType::f32, {count, m.in_chans, m.img_size, m.img_size});
  Generator(net, schedule, preview_options(config_)).generate(ctx, {.seeds = seeds, .labels = labels}, x);
  image_to_pixels(ctx, latents_ ? latents_->decode(ctx, x) : x, pixels);
  return on_host(ctx, pixels);
}

}  // namespace uvic
