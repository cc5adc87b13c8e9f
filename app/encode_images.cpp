#include "app/encode_images.h"

#include <algorithm>
#include <future>

#include "app/cache_folder.h"
#include "app/data/pack_log.h"
#include "app/data/tensor_shards.h"
#include "app/dataset.h"
#include "app/in_scope.h"
#include "app/parallel_for.h"
#include "app/resize.h"
#include "app/sha256.h"
#include "kernels/core/error.h"
#include "kernels/core/text.h"
#include "kernels/ops/pointwise.h"
#include "kernels/ops/transfer.h"
#include "model/autoencoder.h"
#include "model/io/convert.h"

namespace uvic {
namespace fs = std::filesystem;
namespace {

constexpr int64_t kTogether = 16;  // images that are decoded while as many are encoded

// An image, cropped; or why it is left out.
struct Decoded {
  Image image;
  std::string error;
};

// A diffusers folder by the weights in it.
std::string fingerprint_of(const fs::path& path) {
  if (!fs::is_directory(path)) return sha256_of_file(path);
  std::vector<fs::path> files;
  for (const fs::directory_entry& item : fs::directory_iterator(path))
    if (item.path().extension() == ".safetensors") files.push_back(item.path());
  std::sort(files.begin(), files.end());
  std::string all;
  for (const fs::path& file : files) all += sha256_of_file(file);
  return sha256(std::as_bytes(std::span(all)));
}

Shape with_rows(int64_t rows, const Shape& row) {
  Shape shape{rows};
  for (const int64_t d : row) shape.push_back(d);
  return shape;
}

class ImageEncoder {
 public:
  ImageEncoder(const EncodeImagesRequest& request, const Processes& processes)
      : request_(request),
        processes_(processes),
        data_(request.data),
        ctx_({.device = request.device,
              .threads = request.threads > 0 ? request.threads : processes.threads(),
              .timed_plans = timed_plans()}),
        autoencoder_(load()),
        means_(request.means || autoencoder_->is_tiny()),
        latent_({autoencoder_->latent_channels() * (means_ ? 1 : 2), side(), side()}) {}

  EncodeOutcome run();

 private:
  int64_t side() const { return request_.size / autoencoder_->factor(); }
  std::unique_ptr<Autoencoder> load() const;
  ShardPlan plan() const;
  Decoded decode(int64_t i) const;
  std::vector<Decoded> decode(Rows rows) const;
  void encode(const Image& image, Tensor latent);
  bool encode_shard(TensorShardWriter& writer, int shard, Progress& progress);  // false: stopped

  const EncodeImagesRequest& request_;
  const Processes& processes_;
  const Dataset data_;
  Context ctx_;
  std::unique_ptr<Autoencoder> autoencoder_;
  const bool means_;
  const Shape latent_;  // as stored, of one image
  int64_t done_ = 0;    // images of this process
};

std::unique_ptr<Autoencoder> ImageEncoder::load() const {
  const auto warn = [](const std::string& line) { std::fprintf(stderr, "uvic-encode: %s\n", line.c_str()); };
  auto autoencoder = Autoencoder::load(request_.autoencoder, {.dtype = request_.working, .warn = warn});
  UVIC_CHECK(autoencoder->has_encoder(), request_.autoencoder.string(), ": has no encoder, only a decoder");
  UVIC_CHECK(request_.size % autoencoder->factor() == 0, "--size ", request_.size, ": must be a multiple of ",
             autoencoder->factor(), ", for this autoencoder");
  return autoencoder;
}

ShardPlan ImageEncoder::plan() const {
  const auto bytes = static_cast<double>(latent_.numel()) * static_cast<double>(size_of(request_.dtype));
  const double shard = request_.shard_mb * 1e6 / (bytes * (request_.flip ? 2 : 1));
  const double scale = autoencoder_->latent_scale(autoencoder_->recorded_scale_factor().value_or(0.18215));
  return {.kind = "images",
          .items = data_.size(),
          .items_a_shard = std::max<int64_t>(1, static_cast<int64_t>(shard)),
          .made = {{"autoencoder", request_.autoencoder.filename().string()},
                   {"autoencoder_kind", autoencoder_->is_tiny() ? "tiny" : "kl"},
                   {"autoencoder_sha256", fingerprint_of(autoencoder_->path())},
                   {"scale_factor", scale},
                   {"size", int64_t{request_.size}},
                   {"crop", request_.data.crop},
                   {"exif_orientation", int64_t{request_.data.exif_orientation}},
                   {"flip", int64_t{request_.flip}},
                   {"means", int64_t{means_}},
                   {"dtype", name_of(request_.dtype)},
                   {"working_dtype", name_of(request_.working)},
                   {"fingerprint", fingerprint(data_)}},
          .class_names = data_.class_names()};
}

Decoded ImageEncoder::decode(int64_t i) const {
  try {
    const Image image = data_.load(i);
    return {
        request_.data.crop == "coco" ? coco_center_crop(image, request_.size) : center_crop_arr(image, request_.size),
        {}};
  } catch (const Error& e) {
    const std::string what = e.what();  // a crop does not know the image's name
    return {{}, escape(what.find(data_.name(i)) == std::string::npos ? concat(data_.name(i), ": ", what) : what)};
  }
}

std::vector<Decoded> ImageEncoder::decode(Rows rows) const {
  std::vector<Decoded> all(static_cast<size_t>(rows.count()));
  parallel_for(all.size(), request_.data.workers,
               [&](size_t k) { all[k] = decode(rows.begin + static_cast<int64_t>(k)); });
  return all;
}

// Overwrites latent [1, ...] as it is stored.
void ImageEncoder::encode(const Image& image, Tensor latent) {
  ctx_.arena().reset();
  const int64_t size = request_.size, c = autoencoder_->latent_channels();
  const Tensor x = ctx_.empty(DType::f32, {1, 3, size, size});
  const Tensor moments = ctx_.empty(DType::f32, {1, 2 * c, side(), side()});
  const Tensor pixels(const_cast<uint8_t*>(image.rgb.data()), DType::u8, {1, size, size, 3});
  in_scope(ctx_, [&] {
    pixels_to_image(ctx_, on_device(ctx_, pixels), x);
    autoencoder_->encode(ctx_, x, moments);
  });
  const OwnedTensor read = on_host(ctx_, moments);
  const Tensor both = read.tensor.view({2 * c, side(), side()});
  convert(means_ ? both.rows(0, c) : both, latent);
}

bool ImageEncoder::encode_shard(TensorShardWriter& writer, int shard, Progress& progress) {
  const Rows rows = writer.items(shard);
  ShardContents contents;
  std::vector<int32_t> labels;
  const OwnedTensor latents({}, request_.dtype, with_rows(rows.count(), latent_));
  const OwnedTensor flipped({}, request_.dtype, with_rows(request_.flip ? rows.count() : 0, latent_));
  const auto part = [&](int64_t begin) { return Rows{begin, std::min(begin + kTogether, rows.end)}; };
  std::future<std::vector<Decoded>> next;
  const auto read_ahead = [&](int64_t begin) {
    if (begin < rows.end) next = std::async(std::launch::async, [this, r = part(begin)] { return decode(r); });
  };
  read_ahead(rows.begin);
  std::vector<Decoded> decoded;
  for (int64_t i = rows.begin; i < rows.end; ++i, progress.update(++done_)) {
    const int64_t place = (i - rows.begin) % kTogether;
    if (place == 0) {
      decoded = next.get();
      read_ahead(i + kTogether);
    }
    if (request_.stop && *request_.stop) return false;
    const Decoded& one = decoded[static_cast<size_t>(place)];
    if (!one.error.empty()) {
      progress.say("left out " + one.error);
      contents.left_out.push_back(one.error);
      continue;
    }
    const auto row = static_cast<int64_t>(labels.size());
    encode(one.image, latents.tensor.rows(row, row + 1));
    if (request_.flip) encode(flip_horizontally(one.image), flipped.tensor.rows(row, row + 1));
    labels.push_back(data_.label(i));
    contents.names.push_back(fs::path(data_.name(i)).replace_extension().string());
  }
  const auto n = static_cast<int64_t>(labels.size());
  const std::string name = means_ ? "means" : "moments";
  if (n > 0) {
    contents.tensors.push_back({name, latents.tensor.rows(0, n)});
    if (request_.flip) contents.tensors.push_back({name + "_flipped", flipped.tensor.rows(0, n)});
    if (data_.classes() > 0) contents.tensors.push_back({"labels", Tensor(labels.data(), DType::i32, {n})});
  }
  writer.write(shard, contents);
  return true;
}

EncodeOutcome ImageEncoder::run() {
  return encode_shards({.from = data_.path(),
                        .out = request_.out,
                        .plan = plan(),
                        .unit = "image",
                        .units = [](Rows items) { return items.count(); },
                        .encode = [this](TensorShardWriter& writer, int shard,
                                         Progress& progress) { return encode_shard(writer, shard, progress); }},
                       request_.progress, processes_);
}

}  // namespace

EncodeOutcome encode_images(const EncodeImagesRequest& request, Processes& processes) {
  return ImageEncoder(request, processes).run();
}

}  // namespace uvic
