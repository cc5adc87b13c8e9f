#include "app/preview.h"

#include <cstdio>

#include "app/image_io.h"
#include "model/io/convert.h"

namespace uvic {

Previews::Previews(Context& ctx, const RunConfig& config, const ModelInfo& info, const std::filesystem::path& run,
                   const TrainingData& data, const RunImages* images)
    : config_(config), images_(images) {
  if (!images_ || !RunImages::previews_wanted(config) || config.model.condition() != Condition::text) return;
  try {
    if (!config.sample.prompts.empty()) {
      texts_.emplace(run_texts(ctx, config, info, run, config.sample.prompts, {}));
      return;
    }
    const Tensor empty = data.empty_context();
    OwnedTensor null({}, DType::f32, {1, empty.dim(0), empty.dim(1)});
    convert(empty, null.tensor);
    texts_.emplace(data.contexts(config.sample.count), std::move(null));
  } catch (const Error& e) {
    std::fprintf(stderr, "uvic-train: no previews: %s%s%s\n", e.what(), e.hint().empty() ? "" : "; ", e.hint().c_str());
    images_ = nullptr;
  }
}

bool Previews::due(const RunConfig& config, int64_t step) {
  return RunImages::previews_wanted(config) && (step == config.train.max_steps || step % config.sample.every == 0);
}

int Previews::columns() const {
  const UViCConfig& m = config_.model;
  const int kinds = m.num_classes > 0 ? m.real_classes() : static_cast<int>(config_.sample.prompts.size());
  return kinds <= 10 ? kinds : 0;
}

void Previews::write(Context& ctx, TrainedModel& model, const Schedule& schedule,
                     const std::filesystem::path& path) const {
  const auto scope = ctx.scope("preview");
  model.store.use(ctx, Role::ema);
  const OwnedTensor pixels =
      images_->make(ctx, model.net, schedule, texts_ ? &*texts_ : nullptr, 0, config_.sample.count);
  model.store.use(ctx, Role::master);
  Image grid = make_grid(pixels.tensor, columns());
  std::filesystem::create_directories(path.parent_path());
  write_png(path, grid.tensor());
}

}  // namespace uvic
