#include "app/run_images.h"

#include <cstdio>

#include "app/loaded_model.h"
#include "kernels/ops/pointwise.h"
#include "kernels/ops/transfer.h"

namespace uvic {
namespace fs = std::filesystem;
namespace {

// What files are missing is said with an option of uvic-sample, which uvic-train has not. run / "" is a folder's name
// whether there is one yet or not.
template <class F>
auto with_hint(const char* hint, const F& f) {
  try {
    return f();
  } catch (const Error& e) {
    throw Error(e.what(), hint);
  }
}

}  // namespace

GeneratorOptions preview_options(const RunConfig& config) {
  const SampleConfig& c = config.sample;
  GeneratorOptions options{.sampler = {.solver = c.sampler, .steps = c.steps, .order = c.order}};
  options.sampler.prediction = prediction_of(config.diffusion.prediction);
  options.guidance.scale = config.model.null_class || config.model.condition() == Condition::text ? c.cfg_scale : 1;
  return options;
}

TextContext run_texts(Context& ctx, const RunConfig& config, const ModelInfo& info, const fs::path& run,
                      const std::vector<std::string>& prompts, const fs::path& file) {
  SampleRequest request{.model = run / "", .prompts = prompts, .prompts_file = file};
  request.generator = preview_options(config);
  request.seeds.resize(static_cast<size_t>(file.empty() ? config.sample.count : config.eval.num_images));
  return with_hint("latents.text_encoder names it", [&] { return TextContext(ctx, request, info); });
}

RunImages::RunImages(const RunConfig& config, const ModelInfo& info, const fs::path& run, Device device)
    : config_(config) {
  if (!makes_latents(info)) return;
  const DType dtype = dtype_of_name(config.train.dtype, device);
  with_hint("latents.autoencoder names it", [&] { return &latents_.emplace(info, run / "", dtype, LatentOptions{}); });
}

bool RunImages::previews_wanted(const RunConfig& config) { return config.sample.every > 0 && config.sample.count > 0; }

std::optional<RunImages> RunImages::if_wanted(const RunConfig& config, const ModelInfo& info, const fs::path& run,
                                              Device device, bool first) {
  const bool fids = config.eval.fid_every > 0;
  if (!fids && !(first && previews_wanted(config))) return std::nullopt;
  try {
    return std::make_optional<RunImages>(config, info, run, device);
  } catch (const Error& e) {
    if (fids) throw;
    std::fprintf(stderr, "uvic-train: no previews: %s; %s\n", e.what(), e.hint().c_str());
    return std::nullopt;
  }
}

OwnedTensor RunImages::make(Context& ctx, const UViC& net, const Schedule& schedule, const TextContext* texts,
                            int64_t first, int64_t count) const {
  const UViCConfig& m = config_.model;
  const int64_t side = m.img_size * (latents_ ? latents_->factor() : 1);
  const Tensor pixels = ctx.empty(DType::u8, {count, side, side, 3});
  const auto scope = ctx.scope("images");
  std::vector<uint64_t> seeds;
  std::vector<int32_t> labels;
  std::vector<size_t> images;
  for (int64_t i = first; i < first + count; ++i) {
    seeds.push_back(config_.sample.seed + static_cast<uint64_t>(i));
    images.push_back(static_cast<size_t>(i));
    if (m.num_classes > 0) labels.push_back(static_cast<int32_t>(i % m.real_classes()));
  }
  const Tensor x = ctx.empty(DType::f32, {count, m.in_chans, m.img_size, m.img_size});
  Generator(net, schedule, preview_options(config_))
      .generate(ctx,
                {.seeds = seeds,
                 .labels = labels,
                 .context = texts ? texts->of(ctx, images) : Tensor{},
                 .null_context = texts ? texts->null_of(ctx, count) : Tensor{}},
                x);
  image_to_pixels(ctx, latents_ ? latents_->decode(ctx, x) : x, pixels);
  return on_host(ctx, pixels);
}

}  // namespace uvic
