#pragma once

#include <csignal>
#include <cstdint>
#include <filesystem>
#include <string>

#include "app/config.h"
#include "app/encode_shards.h"
#include "kernels/core/context.h"

namespace uvic {

struct EncodeImagesRequest {
  DataConfig data;  // path, format, classes, exif_orientation, crop (center or coco), workers
  std::filesystem::path out;
  std::filesystem::path autoencoder;
  int size = 256;              // pixels a side after the crop; a multiple of the autoencoder's factor
  bool flip = false;           // the mirrored images' latents as well
  bool means = false;          // means instead of moments; a tiny autoencoder has no more
  DType dtype = DType::f32;    // that latents are stored in: f32, f16 or bf16
  DType working = DType::f32;  // of the autoencoder: f32 or bf16
  double shard_mb = 32;        // megabytes (10^6) of a shard
  Device device;
  int threads = 0;  // of the autoencoder; 0: one per core
  Progress::Style progress = Progress::Style::automatic;
  const volatile std::sig_atomic_t* stop = nullptr;  // if it becomes nonzero, the shard in the making is dropped
};

// Writes the latents of a data set's images as TensorShardWriter does, cropped as training crops. The same images and
// settings give the same bytes, however many processes share the shards, and whatever stopped an earlier call. Broken
// images are left out. Throws Error for unusable data, autoencoder or folder, and when the disk is full.
EncodeOutcome encode_images(const EncodeImagesRequest& request, Processes& processes);

}  // namespace uvic
