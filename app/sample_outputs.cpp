#include "app/sample_outputs.h"

#include <cstring>

#include "app/image_io.h"
#include "kernels/ops/pointwise.h"
#include "kernels/ops/transfer.h"
#include "model/io/npz.h"
#include "model/io/safetensors.h"

namespace uvic {
namespace fs = std::filesystem;
namespace {

constexpr int64_t kMostStates = 10'000;  // pictures in a trajectory

// On the host.
OwnedTensor to_pixels(Context& ctx, Tensor x) {
  const Tensor pixels = ctx.empty(DType::u8, {x.dim(0), x.dim(2), x.dim(3), 3});
  image_to_pixels(ctx, x, pixels);
  return on_host(ctx, pixels);
}

Tensor row(Tensor t, size_t i) { return t.rows(static_cast<int64_t>(i), static_cast<int64_t>(i) + 1); }

}  // namespace

bool SampleOutputs::shows(const SampleRequest& r) {
  return !r.out.empty() || !r.grid.empty() || !r.npz.empty() || !r.trajectory.empty() || !r.preview.empty();
}

SampleOutputs::SampleOutputs(const SampleRequest& r, const UViCConfig& c, int64_t side)
    : request_(r), size_(static_cast<int>(side)), classes_(c.real_classes()) {
  const int64_t n = static_cast<int64_t>(r.seeds.size());
  const bool collects = !r.grid.empty() || !r.npz.empty() || !r.tensor.empty() || !r.trajectory.empty();
  if (r.world.size > 1 && (collects || !r.preview.empty()))
    throw Error(
        concat("--grid, --npz, --save-tensor, --trajectory and --preview need all images in one process, here are ",
               r.world.size),
        "let the processes write to -o, then run the same command alone: it reads what is there");
  UVIC_CHECK(r.interpolate == 0 || r.out.empty(),
             "--interpolate makes images between seeds, which -o has no names for; use --grid, --npz or --save-tensor");
  if (!r.out.empty()) fs::create_directories(r.out);
  for (const fs::path& file : {r.grid, r.npz, r.tensor, r.trajectory, r.preview}) {
    if (file.empty()) continue;
    UVIC_CHECK(file.parent_path().empty() || fs::is_directory(file.parent_path()), file.string(),
               ": there is no folder ", file.parent_path().string());
    UVIC_CHECK(!fs::exists(file) || fs::is_regular_file(file), file.string(), ": exists and is not a regular file");
  }
  if (!r.tensor.empty()) floats_ = OwnedTensor({}, DType::f32, {n, c.in_chans, c.img_size, c.img_size});
  if (!r.grid.empty() || !r.npz.empty()) pixels_ = OwnedTensor({}, DType::u8, {n, size_, size_, 3});
  if (!r.trajectory.empty()) {
    const int64_t pictures = n * r.generator.sampler.steps;
    UVIC_CHECK(pictures <= kMostStates, "--trajectory: ", n, " images of ", r.generator.sampler.steps, " steps are ",
               pictures, " pictures; at most ", kMostStates, " fit in one");
    states_.resize(r.seeds.size());
  }
}

fs::path SampleOutputs::png_of(size_t image) const {
  char name[32];
  std::snprintf(name, sizeof name, "%06llu.png", static_cast<unsigned long long>(request_.seeds[image]));
  return request_.out / name;
}

bool SampleOutputs::has_already(size_t image, const std::string& parameters) {
  if (request_.out.empty()) return false;
  const fs::path path = png_of(image);
  const auto info = inspect_png(path);
  if (!info) return false;
  if (info->parameters != parameters)
    throw Error(path.string() + ": exists, made with other parameters: " + info->parameters,
                "choose another folder with -o, or remove it");
  if (floats_.tensor || !states_.empty()) return false;  // what a PNG does not hold
  if (pixels_.tensor) {
    const Image png = read_image(path);
    const Tensor pixels = row(pixels_.tensor, image);
    UVIC_CHECK(png.rgb.size() == pixels.bytes(), path.string(), ": is not ", size_, " pixels wide");
    std::memcpy(pixels.raw(), png.rgb.data(), pixels.bytes());
  }
  return true;
}

void SampleOutputs::show(Context& ctx, std::span<const size_t> images, Tensor state) {
  const OwnedTensor read = to_pixels(ctx, state);
  const Tensor pixels = read.tensor;
  for (size_t i = 0; i < images.size() && !states_.empty(); ++i) {
    const Tensor picture = row(pixels, i);
    const auto* bytes = static_cast<const uint8_t*>(picture.raw());
    states_[images[i]].insert(states_[images[i]].end(), bytes, bytes + picture.bytes());
  }
  if (!request_.preview.empty()) write_png(request_.preview, make_grid(pixels).tensor());
}

void SampleOutputs::take(Context& ctx, std::span<const size_t> images, Tensor x, Tensor decoded,
                         const std::function<std::string(size_t)>& parameters) {
  for (size_t i = 0; i < images.size() && floats_.tensor; ++i) download(ctx, row(x, i), row(floats_.tensor, images[i]));
  if (!decoded) return;
  const OwnedTensor read = to_pixels(ctx, decoded);
  const Tensor pixels = read.tensor;
  for (size_t i = 0; i < images.size(); ++i) {
    if (pixels_.tensor) std::memcpy(row(pixels_.tensor, images[i]).raw(), row(pixels, i).raw(), row(pixels, i).bytes());
    if (!request_.out.empty())
      write_png(png_of(images[i]), row(pixels, i).view({size_, size_, 3}), parameters(images[i]));
  }
}

void SampleOutputs::write() {
  const SampleRequest& r = request_;
  if (!r.trajectory.empty()) {
    std::vector<uint8_t> all;
    for (const std::vector<uint8_t>& states : states_) all.insert(all.end(), states.begin(), states.end());
    const int64_t pictures = static_cast<int64_t>(all.size()) / (int64_t{size_} * size_ * 3);
    const int64_t columns = pictures / static_cast<int64_t>(states_.size());
    const Tensor pixels{all.data(), DType::u8, {pictures, size_, size_, 3}};
    write_png(r.trajectory, make_grid(pixels, static_cast<int>(columns)).tensor());
  }
  if (!r.grid.empty()) {
    const int by_class = r.classes == "all" && classes_ > 0 && classes_ <= 16 ? classes_ : 0;
    write_png(r.grid, make_grid(pixels_.tensor, r.interpolate > 0 ? r.interpolate : by_class).tensor());
  }
  if (!r.npz.empty()) write_npz(r.npz, {{"arr_0", pixels_.tensor}});
  if (!r.tensor.empty()) write_safetensors(r.tensor, {{"images", floats_.tensor}}, {});
}

}  // namespace uvic
