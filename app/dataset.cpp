#include "app/dataset.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "kernels/core/error.h"

namespace uvic {
namespace {

// Of .tar shards together. What is smaller fits in a machine's file cache, and is better shuffled as a whole.
constexpr int64_t kSequentialBytes = int64_t{16} << 30;

// The images of each file in the order in which they lie there.
std::vector<std::vector<uint32_t>> images_by_shard(const ImageIndex& index) {
  const auto at = [&](uint32_t i) { return std::pair(index.entries[i].file, index.entries[i].offset); };
  std::vector<uint32_t> all(index.entries.size());
  std::iota(all.begin(), all.end(), 0u);
  std::sort(all.begin(), all.end(), [&](uint32_t a, uint32_t b) { return at(a) < at(b); });
  std::vector<std::vector<uint32_t>> shards(index.files.size());
  for (const uint32_t i : all) shards[static_cast<size_t>(index.entries[i].file)].push_back(i);
  return shards;
}

}  // namespace

Dataset::Dataset(const DataConfig& config)
    : path_(config.path),
      index_(build_index(config.path, config.format, config.classes, config.max_bad_share)),
      orientation_(config.exif_orientation ? Orientation::upright : Orientation::stored),
      shuffle_buffer_(config.shuffle_buffer) {
  UVIC_CHECK(size() <= int64_t{1} << 32, path_, ": ", size(), " images; a random key has room for 2^32");
  UVIC_CHECK(index_.in_tar || config.reading != "sequential", path_,
             ": data.reading is sequential, which is for .tar shards");
  if (!index_.in_tar || config.reading == "random") return;
  int64_t bytes = 0;
  for (const ImageEntry& e : index_.entries) bytes += e.size;
  if (config.reading == "sequential" || bytes > kSequentialBytes) shards_ = images_by_shard(index_);
}

void check_classes(const Dataset& data, const UViCConfig& model) {
  if (model.num_classes <= 0) return;
  UVIC_CHECK(data.classes() > 0, data.path(), ": has no classes, but model.num_classes is ", model.num_classes);
  UVIC_CHECK(data.classes() == model.real_classes(), data.path(), ": has ", data.classes(),
             " classes, but model.num_classes is ", model.num_classes, model.null_class ? " with" : " without",
             " a null class: it must be ", data.classes() + (model.null_class ? 1 : 0));
}

EpochOrder Dataset::order(uint64_t seed, int64_t epoch) const {
  if (sequential()) return shard_order(seed, epoch, shards_, shuffle_buffer_);
  return {epoch_order(seed, epoch, size()), {}};
}

std::vector<uint8_t> Dataset::read(int64_t i) const {
  const ImageEntry& e = entry(i);
  return read_bytes(index_.files[static_cast<size_t>(e.file)], e.offset, e.size);
}

std::vector<uint8_t> Dataset::read(int64_t i, std::unique_ptr<ByteFile>& open) const {
  const ImageEntry& e = entry(i);
  const std::filesystem::path& path = index_.files[static_cast<size_t>(e.file)];
  if (!open || open->path() != path) open = std::make_unique<ByteFile>(path, ByteFile::Access::sequential);
  return open->read(e.offset, e.size);
}

int64_t Dataset::stored_bytes(int64_t i) const {
  const ImageEntry& e = entry(i);
  if (e.size >= 0) return e.size;
  std::error_code unknown;
  const auto bytes = std::filesystem::file_size(index_.files[static_cast<size_t>(e.file)], unknown);
  return unknown ? -1 : static_cast<int64_t>(bytes);
}

Image Dataset::decode(int64_t i, std::span<const uint8_t> bytes) const {
  const ImageEntry& e = entry(i);
  if (index_.coding == Coding::encoded) {
    const std::string file = index_.files[static_cast<size_t>(e.file)].string();
    return decode_image(bytes, e.size < 0 ? file : concat(file, ": ", e.name), orientation_);
  }
  constexpr size_t kSide = 32, kPlane = kSide * kSide;
  Image image{kSide, kSide, std::vector<uint8_t>(3 * kPlane)};
  for (size_t pixel = 0; pixel < kPlane; ++pixel)
    for (size_t c = 0; c < 3; ++c) image.rgb[pixel * 3 + c] = bytes[c * kPlane + pixel];
  return image;
}

}  // namespace uvic
