#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "app/config.h"
#include "app/data/byte_file.h"
#include "app/data/index.h"
#include "app/data/order.h"
#include "app/image_io.h"
#include "app/rows.h"
#include "kernels/core/memory.h"

namespace uvic {

// Images with labels, from class folders, tar files, CIFAR-10's binary files or a list. The index is built once; pixels
// are read on demand. All members may be called from several threads at once.
class Dataset {
 public:
  // Throws Error for a missing path, an empty data set, or more damaged shards than data.max_bad_share allows.
  explicit Dataset(const DataConfig& config);

  int64_t size() const { return static_cast<int64_t>(index_.entries.size()); }
  int classes() const { return static_cast<int>(index_.class_names.size()); }  // 0: no labels
  const std::vector<std::string>& class_names() const { return index_.class_names; }
  int32_t label(int64_t i) const { return entry(i).label; }  // -1: no labels
  const std::string& name(int64_t i) const { return entry(i).name; }
  const std::string& path() const { return path_; }
  bool encoded() const { return index_.coding == Coding::encoded; }            // else pixels, as CIFAR-10's
  const std::vector<std::string>& lost_shards() const { return index_.lost; }  // left out: which, and why

  // The bytes of image i, and the image at its own size that they hold; load() is both. Throw Error naming it if it
  // cannot be read or decoded.
  std::vector<uint8_t> read(int64_t i) const;
  // The same for images read in the order in which they lie: `open` is the file that is open, exchanged where image i
  // lies in another one.
  std::vector<uint8_t> read(int64_t i, std::unique_ptr<ByteFile>& open) const;
  int64_t stored_bytes(int64_t i) const;  // how many read() gives; -1 if the file cannot be asked
  Image decode(int64_t i, std::span<const uint8_t> bytes) const;
  Image load(int64_t i) const { return decode(i, read(i)); }

  // Whether tar shards are read from front to back (data.reading; auto: above 16 GiB), and the training order of an
  // epoch: if so that of shard_order with data.shuffle_buffer, else that of epoch_order.
  bool sequential() const { return !shards_.empty(); }
  EpochOrder order(uint64_t seed, int64_t epoch) const;

 private:
  const ImageEntry& entry(int64_t i) const { return index_.entries[static_cast<size_t>(i)]; }

  std::string path_;
  ImageIndex index_;
  Orientation orientation_;
  int64_t shuffle_buffer_;
  std::vector<std::vector<uint32_t>> shards_;  // images by file and place in it, if they are to be read in that order
};

class LatentSource;

struct Batch {
  OwnedTensor pixels;           // of images: [B, h, w, 3] u8, host
  OwnedTensor latents;          // of latents: [B, 2C, h, w] f32, moments, or [B, C, h, w], means; not scaled
  OwnedTensor context;          // and where they have captions: [B, T, D] f32, of one of them
  std::vector<int32_t> labels;  // [B]; -1 where the data set has none
  int64_t first_sample = 0;     // global index of row 0
};

struct LoaderOptions {
  int64_t batch_size = 0;  // of all processes together
  int image_size = 0;      // of images: pixels a side, after cropping
  uint64_t seed = 0;
  int64_t start_step = 0;    // steps already done: the first batch is that of this step, counted from 0
  int64_t sample_shift = 0;  // of a run that began with another batch size: see below
  Rows rows;                 // of every batch that are made, where processes share it; none: all of them
  Device memory{};           // that batches lie in, see host_memory_for()
};

// Batches in training order, decoded ahead by threads. Row r of step k is sample g = k batch_size + sample_shift + r of
// the endless sequence of epochs: which image, how cropped and whether flipped depends on (seed, g) alone, so a run
// resumed at step k continues exactly, whatever the number of threads and processes.
//
// Images are read one by one, wherever they lie, and once cropped are kept in memory if they all fit in data.cache_mb.
// A sequential data set is read from front to back instead, by a thread of its own that holds the bytes of
// data.shuffle_buffer images; nothing is cached. A resumed run goes back for those of them that were not used yet.
//
// A broken image is replaced by the next good one of the index; when more than data.max_bad_share of the data set is
// broken, next() throws an Error that counts and names them.
//
// Latents of mirrored images are samples of their own, unless data.random_flip chooses. Of an image's captions one is
// drawn each time.
class BatchLoader {
 public:
  // The data must outlive the loader. Throw Error if they have fewer images than a batch, and if data.random_flip asks
  // for mirrored images' latents that are not there.
  BatchLoader(const Dataset& dataset, const DataConfig& config, const LoaderOptions& options);
  BatchLoader(const LatentSource& latents, const DataConfig& config, const LoaderOptions& options);
  ~BatchLoader();

  Batch next();
  double wait_seconds() const;                    // that next() has spent waiting, in total
  int64_t bad_images() const;                     // broken ones met so far
  std::vector<std::string> bad_examples() const;  // messages of the first few

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace uvic
