#include "app/sample_run.h"

#include <chrono>
#include <cstring>
#include <nlohmann/json.hpp>

#include "app/image_io.h"
#include "app/loaded_model.h"
#include "app/sample_conditions.h"
#include "kernels/ops/pointwise.h"
#include "model/io/convert.h"
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

// One call of sample_images.
class SampleRun {
 public:
  explicit SampleRun(const SampleRequest& request);
  SampleOutcome go();

 private:
  std::string parameters(size_t image) const;
  bool whole_already(size_t image);
  void make_batch(std::span<const size_t> images);
  void write_collected();

  const SampleRequest& r_;
  Clock::time_point start_ = Clock::now();
  Context ctx_;
  LoadedModel model_;
  Schedule schedule_;
  GeneratorOptions options_;
  std::vector<int32_t> labels_;
  TextContext context_;
  OwnedTensor noise_;   // x_T of every image, if given
  OwnedTensor floats_;  // results before rounding, if wanted
  OwnedTensor pixels_;  // [N, h, w, 3] u8, if a grid or an npz is wanted
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
      context_(r_, model_.info.config),
      progress_("sample", "image", static_cast<int64_t>(r_.seeds.size()), r_.progress) {
  const UViCConfig& c = model_.info.config;
  const int64_t n = static_cast<int64_t>(r_.seeds.size());
  const Shape all{n, c.in_chans, c.img_size, c.img_size};
  options_.sampler.prediction = prediction_of(model_.info.prediction);
  const bool wants_pixels = !r_.out.empty() || !r_.grid.empty() || !r_.npz.empty();
  UVIC_CHECK(!wants_pixels || c.in_chans == 3, model_.path.string(), ": makes latents of ", c.in_chans,
             " channels, not images; use --save-tensor");
  if (!r_.out.empty()) fs::create_directories(r_.out);
  for (const fs::path& file : {r_.grid, r_.npz, r_.tensor}) {  // now, not after hours of work
    if (file.empty()) continue;
    UVIC_CHECK(file.parent_path().empty() || fs::is_directory(file.parent_path()), file.string(),
               ": there is no folder ", file.parent_path().string());
    UVIC_CHECK(!fs::exists(file) || fs::is_regular_file(file), file.string(), ": exists and is not a regular file");
  }
  if (!r_.tensor.empty()) floats_ = OwnedTensor({}, DType::f32, all);
  if (!r_.grid.empty() || !r_.npz.empty()) pixels_ = OwnedTensor({}, DType::u8, {n, c.img_size, c.img_size, 3});
  if (!r_.init_noise.empty()) {
    const SafetensorsFile file(r_.init_noise);
    UVIC_CHECK(file.names().size() == 1, r_.init_noise.string(), ": holds ", file.names().size(),
               " tensors; one, x_T, is needed");
    const Tensor x = file.tensor(file.names()[0]);
    UVIC_CHECK(x.shape() == all, r_.init_noise.string(), ": x_T is ", x.shape(), ", ", all, " is needed");
    noise_ = OwnedTensor({}, DType::f32, all);
    convert(x, noise_.tensor);
  }
  outcome_.load_seconds = since(start_);
}

std::string SampleRun::parameters(size_t image) const {
  nlohmann::ordered_json j{{"model", model_.path.filename().string()},
                           {"step", model_.info.step},
                           {"seed", r_.seeds[image]},
                           {"sampler", options_.sampler.solver},
                           {"steps", options_.sampler.steps},
                           {"order", options_.sampler.order},
                           {"method", options_.sampler.method},
                           {"clip", options_.sampler.x0.clip},
                           {"dynamic_threshold", options_.sampler.x0.threshold_ratio},
                           {"spacing", options_.sampler.spacing},
                           {"eta", options_.sampler.eta},
                           {"cfg_scale", options_.cfg_scale},
                           {"dtype", name_of(model_.store->dtype())}};
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
  if (floats_.tensor) return false;
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
  std::vector<int32_t> labels;
  Tensor x = ctx_.empty(DType::f32, {n, c.in_chans, c.img_size, c.img_size});
  for (size_t i = 0; i < images.size(); ++i) {
    seeds.push_back(r_.seeds[images[i]]);
    if (!labels_.empty()) labels.push_back(labels_[images[i]]);
    const int64_t from = static_cast<int64_t>(images[i]), to = static_cast<int64_t>(i);
    if (noise_.tensor) cast(ctx_, noise_.tensor.rows(from, from + 1), x.rows(to, to + 1));
  }
  const Generator generator(*model_.net, schedule_, options_);
  generator.generate(ctx_,
                     {.seeds = seeds,
                      .labels = labels,
                      .context = context_.of(ctx_, images),
                      .null_context = context_.null_of(ctx_, n),
                      .noise_given = bool(noise_.tensor)},
                     x);
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

void SampleRun::write_collected() {
  if (!r_.grid.empty()) {
    const int classes = model_.info.config.real_classes();
    Image grid = make_grid(pixels_.tensor, r_.classes == "all" && classes > 0 && classes <= 16 ? classes : 0);
    write_png(r_.grid, grid.tensor());
  }
  if (!r_.npz.empty()) write_npz(r_.npz, {{"arr_0", pixels_.tensor}});
  if (!r_.tensor.empty()) write_safetensors(r_.tensor, {{"images", floats_.tensor}}, {});
}

SampleOutcome SampleRun::go() {
  const Clock::time_point start = Clock::now();
  std::vector<size_t> todo;
  for (size_t i = 0; i < r_.seeds.size(); ++i) {
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
