#include "app/preview.h"

#include "app/image_io.h"

namespace uvic {

bool Previews::due(int64_t step) const {
  return images_ && RunImages::previews_wanted(config_) &&
         (step == config_.train.max_steps || step % config_.sample.every == 0);
}

void Previews::write(Context& ctx, TrainedModel& model, const Schedule& schedule,
                     const std::filesystem::path& path) const {
  const UViCConfig& m = config_.model;
  const auto scope = ctx.scope("preview");
  model.store.use(ctx, Role::ema);
  const OwnedTensor pixels = images_->make(ctx, model.net, schedule, 0, config_.sample.count);
  model.store.use(ctx, Role::master);
  Image grid = make_grid(pixels.tensor, m.num_classes > 0 && m.real_classes() <= 10 ? m.real_classes() : 0);
  std::filesystem::create_directories(path.parent_path());
  write_png(path, grid.tensor());
}

}  // namespace uvic
