#pragma once

#include <memory>
#include <string>
#include <utility>

#include "app/fid_run.h"

namespace uvic {

// A side of a comparison by its features.
struct FidFeatures {
  FidSide about;
  FeatureSet set;
};

// The sides of one request: what they are, whether they fit, and their features. All processes make the same calls.
class FidSides {
 public:
  // Both must outlive it.
  FidSides(const FidRequest& request, Processes& processes) : r_(request), processes_(processes) {}

  bool wants(const char* metric) const;
  // Throws Error for everything that can be wrong with a side and can be known before hours of work. num: images asked
  // for; 0: all of them.
  void check(const std::string& path, int64_t num, bool is_a);
  // The features of a side that was checked. Where stopped() becomes true meanwhile they are void.
  FidFeatures features(const std::string& path, int64_t num, const FeatureNeeds& needs);

  // Null until a side has images.
  const FeatureExtractor* extractor() const { return extractor_.get(); }
  // Whether a signal ended features() in any process.
  bool stopped() const { return stopped_; }

 private:
  FeatureExtractor& opened_extractor();
  void check_kind(const std::string& path, const FeatureKind& kind);
  void check_statistics(const std::string& path, const Statistics& given, int64_t num);
  FeatureSet extract(ImageSource& source, int64_t num, FeatureNeeds needs, const std::string& name);
  FidFeatures of_model(const std::string& path, int64_t num, const FeatureNeeds& needs);
  FidFeatures of_statistics(const std::string& path, int64_t num, const FeatureNeeds& needs);

  const FidRequest& r_;
  Processes& processes_;
  std::unique_ptr<FeatureExtractor> extractor_;
  std::pair<std::string, FeatureKind> known_;  // the side whose kind of features was known first, and that
  bool stopped_ = false;
};

// Whether a side is a model to sample from: a file of weights or a checkpoint's folder.
bool is_model(const std::filesystem::path& path);

}  // namespace uvic
