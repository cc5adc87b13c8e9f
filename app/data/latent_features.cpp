// The feature files of U-ViT's scripts/extract_*.py, as they are.

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <map>

#include "app/data/latents.h"
#include "kernels/core/error.h"
#include "model/io/convert.h"
#include "model/io/file.h"
#include "model/io/npy_objects.h"

namespace uvic {
namespace fs = std::filesystem;
namespace {

// "12.npy" is {12, -1}, "12_3.npy" is {12, 3}; anything else {-1, -1}.
std::pair<int64_t, int64_t> numbers_of(const fs::path& path) {
  std::pair<int64_t, int64_t> none{-1, -1}, numbers = none;
  if (path.extension() != ".npy") return none;
  const std::string stem = path.stem().string();
  const char *at = stem.data(), *end = at + stem.size();
  const auto number = [&](int64_t& to) {
    const auto [after, error] = std::from_chars(at, end, to);
    const bool good = error == std::errc{} && *at != '-' && (*at != '0' || after == at + 1);  // one name a number
    at = after;
    return good;
  };
  if (!number(numbers.first)) return none;
  if (at == end) return numbers;
  if (*at++ != '_' || !number(numbers.second) || at != end) return none;
  return numbers;
}

std::vector<NpyObject> read_file(const fs::path& path) {
  return read_npy_objects(MappedFile(path).bytes(), path.string());
}

// The array of numbers that is an element of a file.
Tensor array_in(const std::vector<NpyObject>& objects, size_t i, const fs::path& path) {
  const auto* array = i < objects.size() ? std::get_if<OwnedTensor>(&objects[i]) : nullptr;
  UVIC_CHECK(array, path.string(), ": not one of U-ViT's features: element ", i, " is no array");
  return array->tensor;
}

void copy_array(Tensor from, Tensor to, const Shape& shape, const fs::path& path) {
  UVIC_CHECK(from.shape() == shape, path.string(), ": an array ", from.shape(), ", the first file's is ", shape);
  convert(from, to);
}

class LatentFeatures : public LatentSource {
 public:
  explicit LatentFeatures(const std::string& path) : folder_(path) {
    info_.path = path;
    list();
    const fs::path first = folder_ / (std::to_string(images_.front()) + ".npy");
    const std::vector<NpyObject> objects = read_file(first);
    info_.latent = array_in(objects, 0, first).shape();
    info_.labels = objects.size() > 1;
    UVIC_CHECK(info_.latent.rank() == 3 && info_.latent[0] % 2 == 0, first.string(), ": an array ", info_.latent,
               " is not the moments of a latent");
    if (captions_.empty()) return;
    const fs::path text = folder_ / (std::to_string(images_.front()) + "_0.npy");
    info_.context = array_in(read_file(text), 0, text).shape();
    UVIC_CHECK(info_.context.rank() == 2, text.string(), ": an array ", info_.context, " is not a caption's context");
    read_empty_context();
  }

  int64_t size() const override { return static_cast<int64_t>(images_.size()); }
  std::string name(int64_t i) const override { return file(i, "").string(); }
  int64_t captions(int64_t i) const override { return captions_.empty() ? 0 : captions_[static_cast<size_t>(i)]; }

  int32_t read(int64_t i, bool, int64_t caption, Tensor latent, Tensor context) const override {
    const fs::path image = file(i, "");
    const std::vector<NpyObject> objects = read_file(image);
    copy_array(array_in(objects, 0, image), latent, info_.latent, image);
    if (!captions_.empty()) {
      const fs::path text = file(i, concat('_', caption));
      copy_array(array_in(read_file(text), 0, text), context, info_.context, text);
    }
    if (!info_.labels) return -1;
    const Tensor label = array_in(objects, 1, image);
    int32_t value = -1;
    UVIC_CHECK(label.numel() == 1, image.string(), ": ", label.numel(), " labels");
    convert(label, Tensor(&value, DType::i32, {1}));
    UVIC_CHECK(value >= 0, image.string(), ": label ", value);
    return value;
  }

 private:
  fs::path file(int64_t i, const std::string& end) const {
    return folder_ / concat(images_[static_cast<size_t>(i)], end, ".npy");
  }

  void list() {
    std::map<int64_t, int64_t> captions;  // by image
    for (const fs::directory_entry& item : fs::directory_iterator(folder_)) {
      const auto [image, caption] = numbers_of(item.path());
      if (image >= 0 && caption < 0) images_.push_back(image);
      if (caption >= 0) ++captions[image];
    }
    UVIC_CHECK(!images_.empty(), info_.path,
               ": neither latents of uvic-encode (images.json) nor U-ViT's features (0.npy ...) are in this folder");
    std::sort(images_.begin(), images_.end());
    if (captions.empty()) return;
    for (const int64_t image : images_) {
      const auto found = captions.find(image);
      UVIC_CHECK(found != captions.end(), info_.path, ": ", image, ".npy has no ", image, "_0.npy, its caption");
      captions_.push_back(found->second);
    }
  }

  void read_empty_context() {
    const std::string name = "empty_context.npy";
    const fs::path here = folder_ / name, above = fs::absolute(folder_ / "").parent_path().parent_path() / name;
    const fs::path found = fs::exists(here) ? here : above;
    UVIC_CHECK(fs::exists(found), here.string(), ": is missing, and so is ", above.string(),
               ": what texts are replaced by for guidance");
    empty_context_ = OwnedTensor({}, DType::f32, info_.context);
    copy_array(array_in(read_file(found), 0, found), empty_context_.tensor, info_.context, found);
  }

  const fs::path folder_;
  std::vector<int64_t> images_;    // their numbers
  std::vector<int64_t> captions_;  // how many each has, numbered from 0
};

}  // namespace

std::unique_ptr<LatentSource> open_latent_features(const std::string& path) {
  return std::make_unique<LatentFeatures>(path);
}

}  // namespace uvic
