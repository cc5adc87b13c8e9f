#include "app/pack.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <set>

#include "app/data/pack_log.h"
#include "app/data/shard_index.h"
#include "app/data/tar.h"
#include "app/data/tar_writer.h"
#include "app/dataset.h"
#include "app/parallel_for.h"
#include "app/resize.h"
#include "kernels/core/error.h"
#include "kernels/core/text.h"
#include "model/io/file.h"

namespace uvic {
namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
namespace {

struct Packed {
  std::vector<uint8_t> bytes;
  std::string extension;
  std::string error;  // why the image is left out, if not empty
};

const char* extension_of(ImageFormat format) {
  switch (format) {
    case ImageFormat::jpeg: return "jpg";
    case ImageFormat::png: return "png";
    case ImageFormat::webp: return "webp";
    case ImageFormat::bmp: return "bmp";
    case ImageFormat::unknown: break;
  }
  return "";
}

// WebDataset's keys end at the first dot of the last component. Control characters would break a listing, and no file
// must land outside the folder where somebody unpacks a shard.
std::vector<std::string> unique_keys(const Dataset& data) {
  std::vector<std::string> keys;
  std::set<std::string> used;
  for (int64_t i = 0; i < data.size(); ++i) {
    std::string key = fs::path(data.name(i)).replace_extension().string();
    const size_t slash = key.rfind('/'), last = slash == std::string::npos ? 0 : slash + 1;
    std::replace(key.begin() + static_cast<std::ptrdiff_t>(last), key.end(), '.', '_');
    std::replace_if(
        key.begin(), key.end(), [](unsigned char c) { return c < 32 || c == 127; }, '_');
    for (size_t at; (at = key.find("..")) != std::string::npos;) key.replace(at, 2, "__");
    key.erase(0, key.find_first_not_of('/'));
    std::string unique = key;
    for (int n = 2; !used.insert(unique).second; ++n) unique = concat(key, "-", n);
    keys.push_back(unique);
  }
  return keys;
}

void write_file(const fs::path& path, const std::string& text) {
  AtomicFile file(path);
  file.write(text.data(), text.size());
  file.commit();
}

PackOutcome outcome_of(const PackLog& log) {
  PackOutcome outcome;
  for (const PackedShard& shard : log.shards()) {
    outcome.images += shard.samples;
    outcome.bad += static_cast<int64_t>(shard.bad.size());
    outcome.shards += !shard.file.empty();
  }
  return outcome;
}

class Packer {
 public:
  explicit Packer(const PackRequest& request);
  PackOutcome run();

 private:
  Packed make(int64_t i) const;
  std::vector<Packed> make_all(size_t begin, size_t end) const;
  std::optional<PackedShard> write_shard(int number);  // nothing: stopped
  void write_shard_index(const fs::path& shard, const std::vector<int32_t>& labels) const;
  void write_index() const;
  fs::path shard_path(int number) const;

  const PackRequest& request_;
  const Dataset data_;
  const std::vector<std::string> keys_;
  std::vector<uint32_t> order_;  // images in packing order
  PackLog log_;
  Progress progress_;
};

PackSettings settings_of(const PackRequest& r, const Dataset& data) {
  return {.shard_mb = r.shard_mb,
          .size = r.size,
          .crop = r.crop,
          .jpeg_quality = r.jpeg_quality,
          .in_order = r.in_order,
          .seed = r.seed,
          .exif_orientation = r.data.exif_orientation,
          .images = data.size(),
          .fingerprint = fingerprint(data)};
}

Packer::Packer(const PackRequest& request)
    : request_(request),
      data_(request.data),
      keys_(unique_keys(data_)),
      log_(request.out, settings_of(request, data_)),
      progress_("pack", "image", data_.size(), request.progress, log_.next()) {
  order_ = epoch_order(request.seed, 0, data_.size());
  if (request.in_order) std::sort(order_.begin(), order_.end());
}

fs::path Packer::shard_path(int number) const {
  char name[32];
  std::snprintf(name, sizeof name, "shard-%06d.tar", number);
  return request_.out / name;
}

Packed Packer::make(int64_t i) const {
  try {
    std::vector<uint8_t> bytes = data_.read(i);
    const Image image = data_.decode(i, bytes);
    const ImageFormat format = data_.encoded() ? probe_image(bytes, data_.name(i)).format : ImageFormat::unknown;
    if (request_.size == 0 && format != ImageFormat::unknown) return {std::move(bytes), extension_of(format), {}};
    Image resized = request_.size == 0         ? image
                    : request_.crop == "short" ? resize_short_side(image, request_.size)
                                               : center_crop_arr(image, request_.size);
    if (request_.size > 0 && request_.jpeg_quality > 0) return {encode_jpeg(resized, request_.jpeg_quality), "jpg", {}};
    return {encode_png(resized.tensor()), "png", {}};
  } catch (const Error& e) {
    const std::string what = e.what();
    return {{}, {}, escape(what.find(data_.name(i)) == std::string::npos ? concat(data_.name(i), ": ", what) : what)};
  }
}

std::vector<Packed> Packer::make_all(size_t begin, size_t end) const {
  std::vector<Packed> packed(end - begin);
  parallel_for(packed.size(), request_.data.workers, [&](size_t k) { packed[k] = make(order_[begin + k]); });
  return packed;
}

std::optional<PackedShard> Packer::write_shard(int number) {
  constexpr size_t kTogether = 256;  // images made by the threads before they are written
  const fs::path path = shard_path(number);
  PackedShard shard{.file = path.filename().string(), .next = log_.next()};
  std::vector<int32_t> labels;
  TarWriter tar(path);
  const auto full = [&] { return static_cast<double>(tar.bytes()) >= request_.shard_mb * 1e6; };
  while (static_cast<size_t>(shard.next) < order_.size() && !full()) {
    if (request_.stop && *request_.stop) return std::nullopt;
    const auto first = static_cast<size_t>(shard.next);
    const std::vector<Packed> packed = make_all(first, std::min(order_.size(), first + kTogether));
    for (size_t k = 0; k < packed.size() && !full(); ++k, ++shard.next) {
      const uint32_t i = order_[first + k];
      if (!packed[k].error.empty()) {
        progress_.say("left out " + packed[k].error);
        shard.bad.push_back(packed[k].error);
        continue;
      }
      tar.add(concat(keys_[i], ".", packed[k].extension), packed[k].bytes);
      if (const int32_t label = data_.label(i); label >= 0) {
        const std::string text = std::to_string(label);
        tar.add(keys_[i] + ".cls", {reinterpret_cast<const uint8_t*>(text.data()), text.size()});
      }
      labels.push_back(data_.label(i));
      ++shard.samples;
    }
    progress_.update(shard.next);
  }
  if (shard.samples == 0) {
    shard.file.clear();
    return shard;
  }
  tar.commit();
  shard.bytes = static_cast<int64_t>(fs::file_size(path));
  write_shard_index(path, labels);
  return shard;
}

// The headers are read back, so that the offsets are those that a reader finds.
void Packer::write_shard_index(const fs::path& shard, const std::vector<int32_t>& labels) const {
  std::vector<ImageEntry> entries;
  for (const TarEntry& file : read_tar_index(shard))
    if (has_image_extension(file.name))
      entries.push_back({file.name, labels.at(entries.size()), 0, file.offset, file.size});
  write_file(shard_index_path(shard), shard_index_text(static_cast<int64_t>(fs::file_size(shard)), entries));
}

void Packer::write_index() const {
  std::vector<int64_t> images(data_.class_names().size());
  Json left_out = Json::array(), shards = Json::array();
  for (const PackedShard& shard : log_.shards()) {
    if (!shard.file.empty())
      shards.push_back({{"file", shard.file}, {"images", shard.samples}, {"bytes", shard.bytes}});
    for (const std::string& bad : shard.bad) left_out.push_back(bad);
    if (shard.file.empty()) continue;
    for (const ImageEntry& e : read_shard_index(request_.out / shard.file).value_or(std::vector<ImageEntry>{}))
      if (e.label >= 0) ++images.at(static_cast<size_t>(e.label));
  }
  const Json index{{"format", "uvic-shards-1"},         {"classes", data_.class_names()}, {"images_per_class", images},
                   {"images", outcome_of(log_).images}, {"left_out", left_out},           {"shards", shards}};
  write_file(request_.out / kIndexName, index.dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
}

PackOutcome Packer::run() {
  const auto kept = static_cast<int>(log_.shards().size());
  if (kept > 0) progress_.say(concat("kept ", kept, " whole shards in ", request_.out.string()));
  while (log_.next() < data_.size()) {
    const std::optional<PackedShard> shard = write_shard(static_cast<int>(log_.shards().size()));
    if (!shard) break;
    log_.add(*shard);
  }
  PackOutcome outcome = outcome_of(log_);
  outcome.kept = kept;
  outcome.interrupted = log_.next() < data_.size();
  progress_.finish();
  UVIC_CHECK(outcome.images > 0 || outcome.interrupted, data_.path(), ": every image is broken");
  if (!outcome.interrupted) write_index();
  return outcome;
}

}  // namespace

PackOutcome pack(const PackRequest& request) { return Packer(request).run(); }

}  // namespace uvic
