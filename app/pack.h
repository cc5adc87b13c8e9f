#pragma once

#include <csignal>
#include <cstdint>
#include <filesystem>
#include <string>

#include "app/config.h"
#include "app/progress.h"

namespace uvic {

struct PackRequest {
  DataConfig data;  // path, format, classes, exif_orientation, workers
  std::filesystem::path out;
  double shard_mb = 256;        // megabytes (10^6) after which a shard ends
  int size = 0;                 // pixels; 0: the files as they are
  std::string crop = "center";  // of size: center (center_crop_arr: a square) or short (the short side; nothing cut)
  int jpeg_quality = 0;         // of images that are resized; 0: PNG, without loss
  bool in_order = false;        // as the data set has them, class by class, instead of shuffled
  uint64_t seed = 0;            // of shuffling
  Progress::Style progress = Progress::Style::automatic;
  const volatile std::sig_atomic_t* stop = nullptr;  // if it becomes nonzero, pack() drops the shard it is at
};

struct PackOutcome {
  int64_t images = 0;  // in the shards
  int64_t bad = 0;     // left out; each is named on stderr
  int shards = 0;
  int kept = 0;  // of the shards: found whole, from an earlier call
  bool interrupted = false;
};

// Writes a data set as WebDataset shards, shard-000000.tar ...: "<name>.jpg" (or png, webp, bmp, as its content is)
// and, where there are classes, "<name>.cls" with the label; beside each its index (shard_index.h), and at the end
// index.json: class names, images a class, shards. The same data and settings give the same bytes.
//
// A shard is written to a temporary name and renamed when it is whole. A call that was stopped goes on where it was
// when it is made again: pack.jsonl says what is done. Every image is decoded once; broken ones are left out.
// Throws Error for an unusable data set, a full disk, or a folder that holds shards of anything else.
PackOutcome pack(const PackRequest& request);

}  // namespace uvic
