#include "app/sample_run.h"

#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>

#include "app/loaded_model.h"
#include "app/sample_conditions.h"
#include "app/sample_outputs.h"
#include "app/sample_start.h"

namespace uvic {
namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
namespace {

double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

Shape shape_of_all(const UViCConfig& c, const SampleRequest& r) {
  return {static_cast<int64_t>(r.seeds.size()), c.in_chans, c.img_size, c.img_size};
}

// One call of sample_images.
class SampleRun {
 public:
  explicit SampleRun(const SampleRequest& request);
  SampleOutcome go();

 private:
  std::vector<size_t> mine() const;  // the images of this process
  std::string parameters(size_t image) const;
  void make_batch(std::span<const size_t> images);

  const SampleRequest& r_;
  Clock::time_point start_ = Clock::now();
  Context ctx_;
  LoadedModel model_;
  std::optional<LoadedModel> guide_;
  Schedule schedule_;
  GeneratorOptions options_;
  std::vector<int32_t> labels_;
  int32_t other_label_, negative_label_;
  TextContext context_;
  SampleStart start_from_;
  SampleOutputs outputs_;
  SampleOutcome outcome_;
  Progress progress_;
};

SampleRun::SampleRun(const SampleRequest& request)
    : r_(request),
      ctx_({.device = device_of_name(r_.device), .threads = r_.threads}),
      model_(load_model(ctx_, r_.model, dtype_of_name(r_.dtype))),
      schedule_(schedule_of(model_.info.schedule)),
      options_(r_.generator),
      labels_(choose_labels(model_.info, r_)),
      other_label_(other_label(model_.info, r_)),
      negative_label_(negative_label(model_.info, r_)),
      context_(r_, model_.info.config),
      start_from_(r_, shape_of_all(model_.info.config, r_)),
      outputs_(r_, model_.info.config, model_.path.string()),
      progress_("sample", "image", static_cast<int64_t>(mine().size()), r_.progress) {
  options_.sampler.prediction = prediction_of(model_.info.prediction);
  if (!r_.guide_model.empty()) {
    guide_ = load_model(ctx_, r_.guide_model, model_.store->dtype());
    UVIC_CHECK(guide_->info.schedule == model_.info.schedule && guide_->info.prediction == model_.info.prediction,
               r_.guide_model.string(), ": predicts ", guide_->info.prediction, " on schedule ", guide_->info.schedule,
               ", the model ", model_.info.prediction, " on ", model_.info.schedule);
    options_.guide = guide_->net.get();
  }
  if (!r_.init_image.empty()) {
    const double strength = r_.strength > 0 ? r_.strength : r_.mask.empty() ? 0.8 : 1;
    options_.sampler.t_start = strength * schedule_.t_start();
  }
  Generator(*model_.net, schedule_, options_);  // now, too: it throws if something does not fit
  outcome_.load_seconds = since(start_);
}

std::vector<size_t> SampleRun::mine() const {
  std::vector<size_t> images;
  const auto step = static_cast<size_t>(r_.world.size);
  for (size_t i = static_cast<size_t>(r_.world.rank); i < r_.seeds.size(); i += step) images.push_back(i);
  return images;
}

std::string SampleRun::parameters(size_t image) const {
  const SamplerOptions& o = options_.sampler;
  const Guidance& g = options_.guidance;
  nlohmann::ordered_json j{{"model", model_.path.filename().string()},
                           {"step", model_.info.step},
                           {"seed", r_.seeds[image]},
                           {"sampler", o.solver},
                           {"steps", o.steps},
                           {"order", o.order},
                           {"method", o.method},
                           {"clip", o.x0.clip},
                           {"dynamic_threshold", o.x0.threshold_ratio},
                           {"spacing", o.spacing},
                           {"eta", o.eta},
                           {"cfg_scale", g.scale},
                           {"dtype", name_of(model_.store->dtype())}};
  if (o.churn.amount > 0) j["churn"] = {o.churn.amount, o.churn.sigma_min, o.churn.sigma_max, o.churn.noise};
  const SamplerOptions usual;
  if (o.variance != usual.variance) j["variance"] = o.variance;
  if (o.final_sigma != usual.final_sigma) j["final_sigma"] = o.final_sigma;
  if (o.steps_offset != usual.steps_offset) j["steps_offset"] = o.steps_offset;
  for (const auto& [name, on] : {std::pair("bh1", o.bh1), {"taylor", o.taylor}, {"denoise", o.denoise}})
    if (on) j[name] = true;
  if (g.rescale > 0) j["cfg_rescale"] = g.rescale;
  if (g.sigma_min > 0 || std::isfinite(g.sigma_max)) j["cfg_interval"] = {g.sigma_min, g.sigma_max};
  if (negative_label_ >= 0) j["negative_class"] = negative_label_;
  if (!r_.negative_context.empty()) j["negative_context"] = r_.negative_context.filename().string();
  if (guide_) j["guide_model"] = guide_->path.filename().string();
  if (!r_.init_image.empty()) {
    j["init_image"] = r_.init_image.filename().string();
    j["start"] = o.t_start;
    if (!r_.mask.empty()) j["mask"] = r_.mask.filename().string();
  }
  if (!labels_.empty()) {
    const auto label = static_cast<size_t>(labels_[image]);
    if (label < model_.info.class_names.size()) j["class_name"] = model_.info.class_names[label];
    j["class"] = label;
  }
  if (!r_.init_noise.empty()) j["init_noise"] = r_.init_noise.filename().string();
  if (!r_.context.empty()) j["context"] = r_.context.filename().string();
  return j.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void SampleRun::make_batch(std::span<const size_t> images) {
  ctx_.arena().reset();
  const UViCConfig& c = model_.info.config;
  const int64_t n = static_cast<int64_t>(images.size());
  std::vector<uint64_t> seeds;
  std::vector<int32_t> labels, others;
  std::vector<float> shares;
  for (const size_t i : images) {
    seeds.push_back(r_.seeds[i]);
    if (!labels_.empty()) labels.push_back(labels_[i]);
    if (other_label_ < 0) continue;
    others.push_back(other_label_);
    shares.push_back(static_cast<float>(r_.share_of(i)));
  }
  const Tensor x = ctx_.empty(DType::f32, {n, c.in_chans, c.img_size, c.img_size});
  const bool noise_given = start_from_.noise(ctx_, images, x);
  const Generator generator(*model_.net, schedule_, options_);
  generator.generate(ctx_,
                     {.seeds = seeds,
                      .labels = labels,
                      .other_labels = others,
                      .share = shares,
                      .negative_label = negative_label_,
                      .context = context_.of(ctx_, images),
                      .null_context = context_.null_of(ctx_, n),
                      .noise_given = noise_given,
                      .init = start_from_.init(ctx_, n),
                      .keep = start_from_.keep(ctx_, n)},
                     x, [&](int, Tensor state) { outputs_.show(ctx_, images, state); });
  outputs_.take(ctx_, images, x, [this](size_t image) { return parameters(image); });
}

SampleOutcome SampleRun::go() {
  const Clock::time_point start = Clock::now();
  std::vector<size_t> todo;
  for (const size_t i : mine()) {
    if (outputs_.has_already(i, parameters(i))) {
      ++outcome_.kept;
    } else {
      todo.push_back(i);
    }
  }
  const size_t batch = static_cast<size_t>(r_.batch);
  for (size_t i = 0; i < todo.size() && !outcome_.interrupted; i += batch) {
    make_batch(std::span(todo).subspan(i, std::min(batch, todo.size() - i)));
    outcome_.made += static_cast<int64_t>(std::min(batch, todo.size() - i));
    progress_.update(outcome_.kept + outcome_.made);
    outcome_.interrupted = r_.stop && *r_.stop && i + batch < todo.size();
  }
  progress_.finish();
  if (!outcome_.interrupted) outputs_.write();
  outcome_.seconds = since(start);
  return outcome_;
}

}  // namespace

SampleOutcome sample_images(const SampleRequest& request) {
  UVIC_CHECK(!request.seeds.empty(), "no images asked for: -n must be at least 1");
  UVIC_CHECK(request.batch > 0, "-b must be at least 1, got ", request.batch);
  return SampleRun(request).go();
}

std::vector<uint64_t> parse_seeds(const std::string& text) {
  std::vector<uint64_t> seeds;
  const auto number = [&](const std::string& s) {
    UVIC_CHECK(!s.empty() && s.size() < 19 && s.find_first_not_of("0123456789") == std::string::npos, "--seeds ", text,
               ": '", s, "' is not a number; write lists and ranges as 0-99,200");
    return static_cast<uint64_t>(std::stoull(s));
  };
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string item = text.substr(begin, end - begin);
    const size_t dash = item.find('-');
    const uint64_t first = number(item.substr(0, dash));
    const uint64_t last = dash == std::string::npos ? first : number(item.substr(dash + 1));
    UVIC_CHECK(first <= last, "--seeds ", text, ": the range ", item, " runs backwards");
    UVIC_CHECK(last - first < 100'000'000, "--seeds ", text, ": the range ", item, " is too long");
    for (uint64_t s = first; s <= last; ++s) seeds.push_back(s);
    begin = end + 1;
  }
  return seeds;
}

}  // namespace uvic
