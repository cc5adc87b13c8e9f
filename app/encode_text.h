#pragma once

#include <csignal>
#include <cstdint>
#include <filesystem>

#include "app/encode_shards.h"
#include "kernels/core/context.h"

namespace uvic {

struct EncodeTextRequest {
  std::filesystem::path captions;  // as read_captions takes it
  std::filesystem::path out;
  std::filesystem::path text_encoder, tokenizer;  // as TextTower's
  DType dtype = DType::f32;                       // that contexts are stored in: f32, f16 or bf16
  DType working = DType::f32;                     // of the text encoder: f32 or bf16
  double shard_mb = 64;                           // megabytes (10^6) of a shard, about
  Device device;
  int threads = 0;  // 0: one per core
  Progress::Style progress = Progress::Style::automatic;
  const volatile std::sig_atomic_t* stop = nullptr;  // if it becomes nonzero, the shard in the making is dropped
};

struct EncodeTextOutcome : EncodeOutcome {  // items: images whose captions are in the shards
  int64_t encoded = 0, cut = 0;             // captions that were encoded now, and those of them that were too long
};

// Writes the last hidden states of every caption, and of the empty text, as TensorShardWriter does. The same captions,
// weights and settings give the same bytes, however many processes share the shards, and whatever stopped an earlier
// call. Throws Error for an unusable file, text encoder or folder, and when the disk is full.
EncodeTextOutcome encode_text(const EncodeTextRequest& request, Processes& processes);

}  // namespace uvic
