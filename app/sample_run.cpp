#include "app/sample_run.h"

#include <chrono>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "app/image_io.h"
#include "app/loaded_model.h"
#include "app/sample_conditions.h"
#include "app/sample_start.h"
#include "kernels/ops/pointwise.h"
#include "model/io/npz.h"
#include "model/io/safetensors.h"

namespace uvic {
namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
namespace {

double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

fs::path png_path(const SampleRequest& r, uint64_t seed) {
  char name[32];
  std::snprintf(name, sizeof name, "%06llu.png", static_cast<unsigned long long>(seed));
  return r.out / name;
}

constexpr int64_t kMostStates = 10'000;  // pictures in a trajectory

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
  void show(std::span<const size_t> images, Tensor x);
  bool whole_already(size_t image);
  void make_batch(std::span<const size_t> images);
  void write_collected();

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
  std::vector<std::vector<uint8_t>> states_;  // by image: [steps, h, w, 3], if a trajectory is wanted
  OwnedTensor floats_;                        // results before rounding, if wanted
  OwnedTensor pixels_;                        // [N, h, w, 3] u8, if a grid or an npz is wanted
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
      progress_("sample", "image", static_cast<int64_t>(mine().size()), r_.progress) {
  const UViCConfig& c = model_.info.config;
  const int64_t n = static_cast<int64_t>(r_.seeds.size());
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
  const bool collects = !r_.grid.empty() || !r_.npz.empty() || !r_.tensor.empty() || !r_.trajectory.empty();
  if (r_.world.size > 1 && collects)
    throw Error("--grid, --npz, --save-tensor and --trajectory need all images in one process, here are " +
                    std::to_string(r_.world.size),
                "let the processes write to -o, then run the same command alone: it reads what is there");
  UVIC_CHECK(r_.world.size == 1 || r_.preview.empty(), "--preview is for a single process, here are ", r_.world.size);
  UVIC_CHECK(r_.interpolate == 0 || r_.out.empty(),
             "--interpolate makes images between seeds, which -o has no names for; use --grid, --npz or --save-tensor");
  const bool wants_pixels =
      !r_.out.empty() || !r_.grid.empty() || !r_.npz.empty() || !r_.trajectory.empty() || !r_.preview.empty();
  UVIC_CHECK(!wants_pixels || c.in_chans == 3, model_.path.string(), ": makes latents of ", c.in_chans,
             " channels, not images; use --save-tensor");
  if (!r_.out.empty()) fs::create_directories(r_.out);
  for (const fs::path& file :
       {r_.grid, r_.npz, r_.tensor, r_.trajectory, r_.preview}) {  // now, not after hours of work
    if (file.empty()) continue;
    UVIC_CHECK(file.parent_path().empty() || fs::is_directory(file.parent_path()), file.string(),
               ": there is no folder ", file.parent_path().string());
    UVIC_CHECK(!fs::exists(file) || fs::is_regular_file(file), file.string(), ": exists and is not a regular file");
  }
  if (!r_.tensor.empty()) floats_ = OwnedTensor({}, DType::f32, shape_of_all(c, r_));
  if (!r_.grid.empty() || !r_.npz.empty()) pixels_ = OwnedTensor({}, DType::u8, {n, c.img_size, c.img_size, 3});
  if (!r_.trajectory.empty()) {
    const int64_t pictures = n * options_.sampler.steps;
    UVIC_CHECK(pictures <= kMostStates, "--trajectory: ", n, " images of ", options_.sampler.steps, " steps are ",
               pictures, " pictures; at most ", kMostStates, " fit in one");
    states_.resize(r_.seeds.size());
  }
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

// Whether an earlier run made this image and all that is wanted of it is in the file; copies it into pixels_ if it is
// wanted there.
bool SampleRun::whole_already(size_t image) {
  if (r_.out.empty()) return false;
  const fs::path path = png_path(r_, r_.seeds[image]);
  const auto info = inspect_png(path);
  if (!info) return false;
  if (info->parameters != parameters(image))
    throw Error(path.string() + ": exists, made with other parameters: " + info->parameters,
                "choose another folder with -o, or remove it");
  if (floats_.tensor || !states_.empty()) return false;  // what a PNG does not hold
  if (pixels_.tensor) {
    const Image png = read_image(path);
    const Tensor row = pixels_.tensor.rows(static_cast<int64_t>(image), static_cast<int64_t>(image) + 1);
    UVIC_CHECK(png.rgb.size() == row.bytes(), path.string(), ": is not ", model_.info.config.img_size, " pixels wide");
    std::memcpy(row.raw(), png.rgb.data(), row.bytes());
  }
  return true;
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
                     x, [&](int, Tensor state) { show(images, state); });
  Tensor pixels;
  if (c.in_chans == 3) {
    pixels = ctx_.empty(DType::u8, {n, c.img_size, c.img_size, 3});
    image_to_pixels(ctx_, x, pixels);
  }
  for (size_t i = 0; i < images.size(); ++i) {
    const int64_t from = static_cast<int64_t>(i), to = static_cast<int64_t>(images[i]);
    if (floats_.tensor)
      std::memcpy(floats_.tensor.rows(to, to + 1).raw(), x.rows(from, from + 1).raw(), x.rows(from, from + 1).bytes());
    if (!pixels) continue;
    const Tensor row = pixels.rows(from, from + 1);
    if (pixels_.tensor) std::memcpy(pixels_.tensor.rows(to, to + 1).raw(), row.raw(), row.bytes());
    if (!r_.out.empty())
      write_png(png_path(r_, seeds[i]), row.view({c.img_size, c.img_size, 3}), parameters(images[i]));
  }
}

// A state on the way, for those who watch.
void SampleRun::show(std::span<const size_t> images, Tensor x) {
  if (r_.trajectory.empty() && r_.preview.empty()) return;
  auto scope = ctx_.scope("show");
  const Tensor pixels = ctx_.empty(DType::u8, {x.dim(0), x.dim(2), x.dim(3), 3});
  image_to_pixels(ctx_, x, pixels);
  const auto* from = static_cast<const uint8_t*>(pixels.raw());
  const size_t bytes = pixels.bytes() / images.size();
  for (size_t i = 0; i < images.size() && !states_.empty(); ++i) {
    std::vector<uint8_t>& states = states_[images[i]];
    states.insert(states.end(), from + i * bytes, from + (i + 1) * bytes);
  }
  if (!r_.preview.empty()) write_png(r_.preview, make_grid(pixels).tensor());
}

void SampleRun::write_collected() {
  if (!r_.trajectory.empty()) {
    const int size = model_.info.config.img_size;
    std::vector<uint8_t> all;
    for (const std::vector<uint8_t>& states : states_) all.insert(all.end(), states.begin(), states.end());
    const int64_t pictures = static_cast<int64_t>(all.size()) / (int64_t{size} * size * 3);
    const Tensor pixels{all.data(), DType::u8, {pictures, size, size, 3}};
    write_png(r_.trajectory,
              make_grid(pixels, static_cast<int>(pictures / static_cast<int64_t>(states_.size()))).tensor());
  }

  if (!r_.grid.empty()) {
    const int classes = model_.info.config.real_classes();
    const int by_class = r_.classes == "all" && classes > 0 && classes <= 16 ? classes : 0;
    Image grid = make_grid(pixels_.tensor, r_.interpolate > 0 ? r_.interpolate : by_class);
    write_png(r_.grid, grid.tensor());
  }
  if (!r_.npz.empty()) write_npz(r_.npz, {{"arr_0", pixels_.tensor}});
  if (!r_.tensor.empty()) write_safetensors(r_.tensor, {{"images", floats_.tensor}}, {});
}

SampleOutcome SampleRun::go() {
  const Clock::time_point start = Clock::now();
  std::vector<size_t> todo;
  for (const size_t i : mine()) {
    if (whole_already(i)) {
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
  if (!outcome_.interrupted) write_collected();
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
