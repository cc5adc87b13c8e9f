// What uvic-encode wrote: images and, in the same folder, texts.

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <optional>
#include <unordered_map>

#include "app/data/latents.h"
#include "app/data/tensor_shards.h"
#include "app/image_io.h"
#include "kernels/core/error.h"
#include "kernels/core/text.h"
#include "model/io/convert.h"

namespace uvic {
namespace fs = std::filesystem;
namespace {

bool is_float(DType dtype) { return dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16; }

// A row of the tensor of that name has this shape in every shard: the first one's. Throws Error naming one that
// differs.
Shape row_shape(const TensorShards& shards, const std::string& name, int rank, bool row_an_item) {
  std::optional<Shape> shape;
  for (size_t s = 0; s < shards.shards().size(); ++s) {
    const SafetensorsFile& file = shards.shards()[s];
    const Tensor t = file.tensor(name);
    const int64_t items = shards.first()[s + 1] - shards.first()[s];
    UVIC_CHECK(t.rank() == rank && is_float(t.dtype()) && (!row_an_item || t.dim(0) == items), file.path().string(),
               ": tensor ", quote(name), " is ", t.dtype(), ' ', t.shape(), ", not numbers for its ", items, " items");
    const Shape row(t.shape().begin() + 1, t.shape().end());
    if (!shape) shape = row;
    UVIC_CHECK(row == *shape, file.path().string(), ": tensor ", quote(name), " has rows ", row, ", other shards have ",
               *shape);
  }
  return *shape;
}

class LatentShards : public LatentSource {
 public:
  explicit LatentShards(const std::string& path) : images_(path, "images") {
    info_.path = path;
    const SafetensorsFile& first = images_.shards().front();
    info_.moments = first.contains("moments");
    latents_ = info_.moments ? "moments" : "means";
    info_.latent = row_shape(images_, latents_, 4, true);
    UVIC_CHECK(!info_.moments || info_.latent[0] % 2 == 0, path, ": moments of ", info_.latent[0], " channels");
    info_.flips = first.contains(latents_ + "_flipped");
    if (info_.flips)
      UVIC_CHECK(row_shape(images_, latents_ + "_flipped", 4, true) == info_.latent, path,
                 ": the mirrored images' latents have another shape");
    info_.labels = first.contains("labels");
    info_.class_names = images_.class_names();
    if (info_.labels) check_labels();
    info_.autoencoder = images_.made("autoencoder");
    info_.tiny = images_.made("autoencoder_kind") == "tiny";
    if (const std::string scale = images_.made("scale_factor"); !scale.empty())
      info_.scale_factor = std::strtod(scale.c_str(), nullptr);
    UVIC_CHECK(info_.scale_factor > 0, path, ": images.json has scale_factor ", info_.scale_factor);
    if (TensorShards::any(path, "text")) add_texts(path);
  }

  int64_t size() const override { return images_.items(); }

  std::string name(int64_t i) const override {
    const auto [shard, row] = images_.at(i);
    return concat(shard.path().string(), ", image ", row);
  }

  int64_t captions(int64_t i) const override {
    if (!texts_) return 0;
    const auto [shard, row] = texts_->at(text_of_[static_cast<size_t>(i)]);
    const int64_t* begin = shard.tensor("begin").data<int64_t>();
    return begin[row + 1] - begin[row];
  }

  int32_t read(int64_t i, bool flipped, int64_t caption, Tensor latent, Tensor context) const override {
    const auto [shard, row] = images_.at(i);
    convert(shard.tensor(flipped ? latents_ + "_flipped" : latents_).rows(row, row + 1), latent);
    if (texts_) {
      const auto [texts, item] = texts_->at(text_of_[static_cast<size_t>(i)]);
      const int64_t at = texts.tensor("begin").data<int64_t>()[item] + caption;
      convert(texts.tensor("context").rows(at, at + 1), context);
    }
    return info_.labels ? shard.tensor("labels").data<int32_t>()[row] : -1;
  }

 private:
  void check_labels() const {
    const auto classes = static_cast<int32_t>(info_.class_names.size());
    for (size_t s = 0; s < images_.shards().size(); ++s) {
      const SafetensorsFile& file = images_.shards()[s];
      const Tensor labels = file.tensor("labels");
      UVIC_CHECK(labels.dtype() == DType::i32 && labels.shape() == Shape({images_.first()[s + 1] - images_.first()[s]}),
                 file.path().string(), ": labels ", labels.dtype(), ' ', labels.shape(), " are not an i32 an image");
      const auto [low, high] = std::minmax_element(labels.data<int32_t>(), labels.data<int32_t>() + labels.numel());
      UVIC_CHECK(*low >= 0 && *high < classes, file.path().string(), ": labels from ", *low, " to ", *high, " of ",
                 classes, " classes");
    }
  }

  void add_texts(const std::string& path) {
    texts_.emplace(path, "text");
    info_.text_encoder = texts_->made("text_encoder");
    info_.context = row_shape(*texts_, "context", 3, false);
    for (size_t s = 0; s < texts_->shards().size(); ++s) {
      const SafetensorsFile& file = texts_->shards()[s];
      const Tensor begin = file.tensor("begin");
      const int64_t items = texts_->first()[s + 1] - texts_->first()[s];
      UVIC_CHECK(begin.dtype() == DType::i64 && begin.shape() == Shape({items + 1}), file.path().string(), ": begin ",
                 begin.dtype(), ' ', begin.shape(), " is not an i64 a text and the end");
      const int64_t *b = begin.data<int64_t>(), *end = b + items;
      UVIC_CHECK(b[0] == 0 && *end == file.tensor("context").dim(0) &&
                     std::adjacent_find(b, end + 1, std::greater_equal<>()) == end + 1,
                 file.path().string(), ": begin does not divide the captions among the images");
    }
    const Tensor empty = texts_->shards().front().tensor("empty_context");
    UVIC_CHECK(empty.shape() == info_.context && is_float(empty.dtype()), path, ": empty_context is ", empty.shape(),
               ", a caption ", info_.context);
    empty_context_ = OwnedTensor({}, DType::f32, info_.context);
    convert(empty, empty_context_.tensor);
    join(path);
  }

  // Finds each image's text: by name, or, where the texts have none, by place.
  void join(const std::string& path) {
    const auto stem = [](const std::string& name) {
      return has_image_extension(name) ? fs::path(name).replace_extension().string() : name;
    };
    std::unordered_map<std::string, int64_t> item_of;
    const std::vector<std::string> texts = texts_->names();
    if (std::all_of(texts.begin(), texts.end(), [](const std::string& name) { return name.empty(); })) {
      if (texts_->items() != size())
        throw Error(concat(path, ": texts of ", texts_->items(), " images, latents of ", size()),
                    "captions in a .jsonl can name their images");
      for (int64_t i = 0; i < size(); ++i) text_of_.push_back(i);
      return;
    }
    for (size_t t = 0; t < texts.size(); ++t) item_of.emplace(stem(texts[t]), static_cast<int64_t>(t));
    int64_t missing = 0;
    std::string example;
    for (const std::string& name : images_.names()) {
      const auto found = item_of.find(stem(name));
      text_of_.push_back(found == item_of.end() ? -1 : found->second);
      if (found == item_of.end() && missing++ == 0) example = name;
    }
    if (missing > 0)
      throw Error(
          concat(path, ": ", missing, " of ", size(), " images have no captions, the first is ", quote(example)),
          concat("the texts are those of ", quote(texts.front()),
                 ", ...: names must be paths below the images' folder"));
  }

  const TensorShards images_;
  std::string latents_;
  std::optional<TensorShards> texts_;
  std::vector<int64_t> text_of_;  // by image
};

}  // namespace

std::unique_ptr<LatentSource> open_latent_shards(const std::string& path) {
  return std::make_unique<LatentShards>(path);
}

std::unique_ptr<LatentSource> open_latents(const std::string& path) {
  UVIC_CHECK(!path.empty(), "data.path is not set");
  UVIC_CHECK(fs::is_directory(path), path, ": no such folder; latents are a folder that uvic-encode writes");
  return TensorShards::any(path, "images") ? open_latent_shards(path) : open_latent_features(path);
}

}  // namespace uvic
