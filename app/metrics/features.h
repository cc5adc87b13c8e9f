#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "app/image_source.h"
#include "app/inception_input.h"
#include "app/metrics/inception_score.h"
#include "app/metrics/statistics_file.h"
#include "app/processes.h"
#include "app/progress.h"
#include "model/inception.h"

namespace uvic {

// Which network sees the images, and how.
struct FeatureOptions {
  std::filesystem::path network;  // a file; empty: find_network()
  Protocol protocol = Protocol::tf1;
  Pool pool = Pool::max;
  bool unit = false;  // images in [0, 1], for networks trained so
  int64_t batch = 32;
  Device device{};         // of the network
  int threads = 0;         // of the network; 0: one per core
  int decode_threads = 0;  // likewise
  Progress::Style progress = Progress::Style::automatic;
};

// "tf1", "pytorch", "clean"; "max", "average". Throw Error for an unknown name.
Protocol protocol_of_name(const std::string& name);
Pool pool_of_name(const std::string& name);

// The file of UVIC_INCEPTION, else the published one in the cache folders of uvic ($XDG_CACHE_HOME/uvic or
// ~/.cache/uvic) and of PyTorch. Throws Error that says what to download, from where and its SHA-256.
std::filesystem::path find_network();
inline constexpr const char* kPublishedNetwork = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2";

// What is wanted of a set beside pool3's mean and covariance. Memory grows with the number of images for rows alone, by
// 8 KB each.
struct FeatureNeeds {
  bool spatial = false, scores = false, rows = false;
  std::function<bool()> stop{};  // asked by every process before each batch, with one answer: extract() then ends
};

struct FeatureSet {
  Statistics statistics;
  OwnedTensor rows;                                                       // [N, 2048] f32: pool3
  std::optional<InceptionScore::Result> torch_fidelity_score, adm_score;  // shuffled 10 splits; splits of 5000
};

class FeatureExtractor {
 public:
  // Reads the network. Throws Error if there is none, or it is damaged or not an Inception.
  explicit FeatureExtractor(const FeatureOptions& options);

  const FeatureKind& kind() const { return kind_; }
  const std::filesystem::path& network() const { return options_.network; }
  bool has_logits() const { return inception_->classes() > 0; }  // which Inception Scores need

  // Features of count of source's images, each process a share, the result the same in all of them; of no images if
  // needs.stop() said so. count: at least 2.
  FeatureSet extract(ImageSource& source, int64_t count, const FeatureNeeds& needs, Processes& processes,
                     const std::string& name);

 private:
  FeatureOptions options_;
  FeatureKind kind_;
  Context ctx_;
  std::unique_ptr<Inception> inception_;
};

}  // namespace uvic
