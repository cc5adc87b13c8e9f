#include "app/fid_sides.h"

#include <algorithm>
#include <numeric>

#include "app/sampled_images.h"
#include "app/sha256.h"
#include "model/io/npz.h"

namespace uvic {
namespace fs = std::filesystem;

bool is_model(const fs::path& path) {
  const std::string e = path.extension().string();
  if (fs::is_directory(path)) return fs::exists(path / "model.safetensors");
  return e == ".safetensors" || e == ".pth" || e == ".pt" || e == ".ckpt";
}

bool FidSides::wants(const char* metric) const {
  return std::find(r_.metrics.begin(), r_.metrics.end(), metric) != r_.metrics.end();
}

FeatureExtractor& FidSides::opened_extractor() {
  if (!extractor_) extractor_ = std::make_unique<FeatureExtractor>(r_.features);
  return *extractor_;
}

void FidSides::check(const std::string& path, int64_t num, bool is_a) {
  const bool statistics = holds_statistics(path);
  if (statistics) check_statistics(path, read_statistics(path), num);
  const bool needs_images = wants("kid") || wants("pr") || (is_a && wants("is"));
  if (statistics && !needs_images) return;
  int64_t images = num;
  if (is_model(path)) {
    if (num <= 0) throw Error(path + ": is a model: say how many images it should make", "--num 50000 is usual");
  } else {
    UVIC_CHECK(!statistics || NpzFile(path).contains("arr_0"), path,
               ": holds statistics only; is, kid and pr need the images themselves");
    images = open_images(path)->size();
    UVIC_CHECK(images >= num, path, ": has ", images, " images, ", num, " are asked for");
    if (num > 0) images = num;
  }
  UVIC_CHECK(images >= 2, path, ": a covariance needs at least two images, here is one");
  if (wants("kid") && images < r_.kid.subset_size)
    throw Error(concat(path, ": ", images, " images are too few for KID's subsets of ", r_.kid.subset_size),
                "choose a smaller --kid-subset-size");
  UVIC_CHECK(!wants("pr") || images > r_.neighbours, path, ": ", images, " images are too few for the distance to the ",
             r_.neighbours, "th neighbour");
  UVIC_CHECK(!is_a || !wants("is") || images >= 10, path, ": ", images,
             " images are too few for the 10 splits of the Inception Score");
  UVIC_CHECK(!is_a || !wants("is") || opened_extractor().has_logits(), opened_extractor().network().string(),
             ": has no last layer (fc), without which there is no Inception Score");
  if (!statistics) check_kind(path, opened_extractor().kind());
}

void FidSides::check_statistics(const std::string& path, const Statistics& given, int64_t num) {
  check_kind(path, given.kind);
  UVIC_CHECK(given.images == 0 || given.images >= num, path, ": is made from ", given.images, " images, ", num,
             " are asked for");
  UVIC_CHECK(!wants("sfid") || given.spatial, path, ": has no mu_s and sigma_s, which sfid needs");
  if (holds_statistics(r_.a) && holds_statistics(r_.b)) return;  // of any features, as long as both agree
  UVIC_CHECK(given.pool3.dims() == Inception::kFeatures, path, ": is of ", given.pool3.dims(),
             " features, Inception has ", Inception::kFeatures);
}

void FidSides::check_kind(const std::string& path, const FeatureKind& kind) {
  if (kind.protocol.empty()) return;
  if (known_.first.empty()) known_ = {path, kind};
  if (kind == known_.second) return;
  const auto text = [](const FeatureKind& k) {
    return concat("protocol ", k.protocol, ", network ", k.network.substr(0, 8), ", ", k.pool, " pool",
                  k.unit ? ", images in [0, 1]" : "");
  };
  throw Error(
      concat(path, ": its features are of ", text(kind), "; those of ", known_.first, " of ", text(known_.second)),
      "--protocol, --network, --pool and --unit-range choose them");
}

FeatureSet FidSides::extract(ImageSource& source, int64_t num, FeatureNeeds needs, const std::string& name) {
  needs.stop = [this] { return stopped_ = processes_.any(r_.stop && *r_.stop); };
  return opened_extractor().extract(source, num > 0 ? num : source.size(), needs, processes_, name);
}

FidFeatures FidSides::of_model(const std::string& path, int64_t num, const FeatureNeeds& needs) {
  SampleRequest request = r_.sample;
  request.model = path;
  request.batch = static_cast<int>(r_.features.batch);
  request.seeds.resize(static_cast<size_t>(num));
  std::iota(request.seeds.begin(), request.seeds.end(), r_.seed);
  SampledImages source(request);
  FidFeatures s{{path, "model", sha256_of_file(source.model().path), num, source.model().info.step}, {}};
  s.set = extract(source, num, needs, path);
  return s;
}

FidFeatures FidSides::of_statistics(const std::string& path, int64_t num, const FeatureNeeds& needs) {
  FidFeatures s{{path, "statistics", sha256_of_file(path)}, {}};
  const Statistics given = read_statistics(path);
  s.about.images = given.images;
  if (needs.rows || needs.scores) {
    const auto source = open_images(path);  // guided-diffusion's reference batches have both
    s.set = extract(*source, num, {.scores = needs.scores, .rows = needs.rows}, path);
    if (s.about.images == 0) s.about.images = s.set.statistics.images;
  }
  s.set.statistics = given;
  return s;
}

FidFeatures FidSides::features(const std::string& path, int64_t num, const FeatureNeeds& needs) {
  if (holds_statistics(path)) return of_statistics(path, num, needs);
  if (is_model(path)) return of_model(path, num, needs);
  const auto source = open_images(path);
  FidFeatures s{{path, "images"}, {}};
  s.set = extract(*source, num, needs, path);
  s.about.images = s.set.statistics.images;
  return s;
}

}  // namespace uvic
