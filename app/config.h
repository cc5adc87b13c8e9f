#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <variant>
#include <vector>

#include "model/config.h"

namespace uvic {

// Everything a training run can be told, as plain values. Ranges, choices and help texts stand in one list, fields() in
// config_fields.cpp, which parsing, --set, checking, dumping and the documentation all walk.

struct DataConfig {
  std::string path;
  std::string format = "auto";
  std::vector<std::string> classes;
  std::string reading = "auto";
  int shuffle_buffer = 4096;
  bool exif_orientation = true;
  bool random_flip = true;
  std::string crop = "center";
  int workers = 0;
  int cache_mb = 512;
  double max_bad_share = 0.01;
  bool operator==(const DataConfig&) const = default;
};

// Of models on latents: what made their latents and texts.
struct LatentsConfig {
  std::string autoencoder;
  std::string text_encoder;
  double scale_factor = 0;
  bool operator==(const LatentsConfig&) const = default;
};

struct DiffusionConfig {
  std::string schedule = "vp";
  std::string prediction = "eps";
  std::string loss_weight = "none";
  double gamma = 5;
  std::string time_sampling = "uniform";
  bool operator==(const DiffusionConfig&) const = default;
};

// Defaults: U-ViT's CIFAR-10 run.
struct TrainConfig {
  int batch_size = 128;
  int accumulate = 1;
  int64_t max_steps = 500000;
  double lr = 2e-4;
  int64_t warmup_steps = 2500;
  std::string lr_schedule = "constant";
  double beta1 = 0.99;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0.03;
  double grad_clip = 0;
  std::vector<double> ema_rate{0.9999};
  double label_drop = 0;
  double init_score = 0;
  uint64_t seed = 1234;
  std::string dtype = "auto";
  int64_t save_every = 10000;
  int keep_last = 3;
  int64_t keep_every = 0;
  int64_t log_every = 10;
  int threads = 0;
  bool recompute = false;
  bool shard_optimizer = false;
  bool operator==(const TrainConfig&) const = default;
};

// The preview grids of a training run.
struct SampleConfig {
  int64_t every = 10000;
  int count = 64;
  int steps = 20;
  std::string sampler = "dpm++";
  int order = 0;
  double cfg_scale = 1;
  uint64_t seed = 0;
  std::vector<std::string> prompts;
  bool operator==(const SampleConfig&) const = default;
};

// The FID of a training run's model on its way.
struct EvalConfig {
  int64_t fid_every = 0;
  std::string prompts_file;
  std::string stats;
  int64_t num_images = 10000;
  int batch = 64;
  std::string network;
  std::string protocol = "tf1";
  std::string pool = "max";
  bool unit_range = false;
  bool operator==(const EvalConfig&) const = default;
};

struct RunConfig {
  std::string preset;  // name of the model that `model` started from; empty: none
  UViCConfig model;
  DataConfig data;
  LatentsConfig latents;
  DiffusionConfig diffusion;
  TrainConfig train;
  SampleConfig sample;
  EvalConfig eval;
  bool operator==(const RunConfig&) const = default;
};

// Accepted numbers; an open end is itself excluded.
struct Range {
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  bool min_open = false;
  bool max_open = false;
};

// One setting: where its value lies, what it may be, what it means.
struct Field {
  using Value = std::variant<bool*, int*, int64_t*, uint64_t*, double*, std::vector<double>*, std::string*,
                             std::vector<std::string>*, std::vector<AttentionKind>*>;
  std::string section;  // "train"
  std::string name;     // "batch_size"
  Value value;
  std::string help;
  Range range;                       // of numbers
  std::vector<std::string> choices;  // of strings; empty: anything
};
// Every setting of config, in the order of the file.
std::vector<Field> fields(RunConfig& config);

// Reads a YAML file, then applies sets ("train.batch_size=64") in order, then checks. Errors begin with the file and
// line or with the --set that is wrong, name the key, and say what is accepted or which key is nearest.
RunConfig load_config(const std::filesystem::path& path, const std::vector<std::string>& sets = {});
// The same from text; name stands in for the path in errors.
RunConfig parse_config(const std::string& yaml, const std::string& name, const std::vector<std::string>& sets = {});

// What settings must satisfy together; ranges of single ones are checked on reading. Throws Error naming the keys.
void validate(const RunConfig& config);

// The complete YAML of config: parse_config() of it gives an equal config.
std::string dump_config(const RunConfig& config);
// Every key with its type, range or choices, default and meaning, as a Markdown table a section.
std::string describe_config();

}  // namespace uvic
