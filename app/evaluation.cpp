#include "app/evaluation.h"

#include <algorithm>

#include "app/metrics/frechet.h"

namespace uvic {
namespace {

FeatureOptions options_of(const EvalConfig& c, const Context& ctx) {
  return {.network = c.network,
          .protocol = protocol_of_name(c.protocol),
          .pool = pool_of_name(c.pool),
          .unit = c.unit_range,
          .batch = c.batch,
          .device = ctx.device(),
          .threads = ctx.threads(),
          .progress = Progress::Style::quiet};  // a bar of its own would break the run's
}

// Images of the weights in use, in batches as they are asked for.
class TrainedImages : public ImageSource {
 public:
  TrainedImages(Context& ctx, const EvalConfig& config, const RunImages& images, const TextContext* texts,
                const UViC& net, const Schedule& schedule)
      : ctx_(ctx), config_(config), source_(images), texts_(texts), net_(net), schedule_(schedule) {}

  int64_t size() const override { return config_.num_images; }
  bool heavy() const override { return true; }
  std::function<Image()> fetch(int64_t i) override {
    if (i < first_ || i >= first_ + static_cast<int64_t>(images_.size())) make(i);
    return [image = std::move(images_[static_cast<size_t>(i - first_)])] { return image; };
  }

 private:
  void make(int64_t first) {
    const auto scope = ctx_.scope("evaluation");
    const int64_t n = std::min<int64_t>(config_.batch, size() - first);
    const OwnedTensor made = source_.make(ctx_, net_, schedule_, texts_, first, n);
    const Tensor pixels = made.tensor;
    first_ = first;
    images_.clear();
    for (int64_t i = 0; i < n; ++i) {
      const uint8_t* rgb = pixels.rows(i, i + 1).data<uint8_t>();
      images_.push_back(
          {static_cast<int>(pixels.dim(1)), static_cast<int>(pixels.dim(2)), {rgb, rgb + pixels.numel() / n}});
    }
  }

  Context& ctx_;
  const EvalConfig& config_;
  const RunImages& source_;
  const TextContext* texts_;
  const UViC& net_;
  const Schedule& schedule_;
  int64_t first_ = 0;          // of images_
  std::vector<Image> images_;  // the batch made last
};

}  // namespace

Evaluation::Evaluation(Context& ctx, const RunConfig& config, const ModelInfo& info, const std::filesystem::path& run,
                       const RunImages* images)
    : config_(config), images_(images) {
  if (config_.eval.fid_every == 0) return;
  reference_ = read_statistics(config_.eval.stats);
  extractor_ = std::make_unique<FeatureExtractor>(options_of(config_.eval, ctx));
  const FeatureKind &own = extractor_->kind(), &theirs = reference_.kind;
  UVIC_CHECK(theirs.protocol.empty() || own == theirs, "eval.stats ", config_.eval.stats, " is of protocol ",
             theirs.protocol, ", network ", theirs.network.substr(0, 8), ", ", theirs.pool, " pool; eval says ",
             own.protocol, ", ", own.network.substr(0, 8), ", ", own.pool);
  UVIC_CHECK(reference_.pool3.dims() == Inception::kFeatures, "eval.stats ", config_.eval.stats, ": of ",
             reference_.pool3.dims(), " dimensions, not ", Inception::kFeatures);
  if (config_.model.condition() == Condition::text)
    texts_.emplace(run_texts(ctx, config_, info, run, {}, config_.eval.prompts_file));
}

Evaluation::~Evaluation() = default;

bool Evaluation::due(int64_t step) const {
  const int64_t every = config_.eval.fid_every;
  return every > 0 && (step % every == 0 || step == config_.train.max_steps);
}

LogFields Evaluation::run(Context& ctx, TrainedModel& model, const Schedule& schedule, Processes& processes,
                          const std::function<bool()>& stop) {
  TrainedImages images(ctx, config_.eval, *images_, texts_ ? &*texts_ : nullptr, model.net, schedule);
  model.store.use(ctx, Role::ema);
  const FeatureSet set = extractor_->extract(images, images.size(), {.stop = stop}, processes, "evaluation");
  model.store.use(ctx, Role::master);
  if (!processes.first() || set.statistics.images == 0) return {};
  const SampleConfig& s = config_.sample;
  return {{"fid", frechet_distance(set.statistics.pool3, reference_.pool3).distance},
          {"fid_images", images.size()},
          {"fid_reference_images", reference_.images},
          {"fid_protocol", extractor_->kind().protocol},
          {"fid_network", extractor_->kind().network.substr(0, 8)},
          {"fid_sampler", s.sampler},
          {"fid_steps", int64_t{s.steps}},
          {"fid_cfg_scale", preview_options(config_).guidance.scale}};
}

}  // namespace uvic
