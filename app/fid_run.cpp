#include "app/fid_run.h"

#include <algorithm>
#include <numeric>

#include "app/metrics/precision_recall.h"
#include "app/sampled_images.h"
#include "app/sha256.h"
#include "model/checkpoint.h"
#include "model/io/file.h"
#include "model/io/npz.h"

namespace uvic {
namespace fs = std::filesystem;
namespace {

constexpr int64_t kFewImages = 10'000;

struct Side {
  FidSide about;
  FeatureSet set;
};

bool is_model(const fs::path& path) {
  const std::string e = path.extension().string();
  if (fs::is_directory(path)) return fs::exists(path / "model.safetensors");
  return e == ".safetensors" || e == ".pth" || e == ".pt" || e == ".ckpt";
}

class Comparison {
 public:
  Comparison(const FidRequest& request, Processes& processes) : r_(request), processes_(processes) {}

  Side side(const std::string& path, int64_t num, const FeatureNeeds& needs);
  std::vector<FidResult> run();
  FidResult reference(const fs::path& out);

 private:
  bool wants(const char* metric) const {
    return std::find(r_.metrics.begin(), r_.metrics.end(), metric) != r_.metrics.end();
  }
  FeatureExtractor& extractor() {  // read only where a side has images
    if (!extractor_) extractor_ = std::make_unique<FeatureExtractor>(r_.features);
    return *extractor_;
  }
  void preflight(const std::string& path, int64_t num, bool is_a);
  void check_kind(const std::string& path, const FeatureKind& kind);
  void check_statistics(const std::string& path, const Statistics& given, int64_t num);
  FeatureSet extract(ImageSource& source, int64_t num, const FeatureNeeds& needs, const std::string& name);
  Side of_model(const std::string& path, int64_t num, const FeatureNeeds& needs);
  Side of_statistics(const std::string& path, int64_t num, const FeatureNeeds& needs);
  FidResult begin(const Side& a) const;
  FidResult compare(const Side& a, const Side& b) const;
  void add_frechet(FidResult& result, const char* name, const Gaussian& a, const Gaussian& b) const;

  const FidRequest& r_;
  Processes& processes_;
  std::unique_ptr<FeatureExtractor> extractor_;
  std::pair<std::string, FeatureKind> known_;  // the side whose kind of features was known first, and that
};

// Everything that can be wrong with a side and can be known before hours of work.
void Comparison::preflight(const std::string& path, int64_t num, bool is_a) {
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
  if (wants("kid") && images < r_.kid.subset_size)
    throw Error(concat(path, ": ", images, " images are too few for KID's subsets of ", r_.kid.subset_size),
                "choose a smaller --kid-subset-size");
  UVIC_CHECK(!wants("pr") || images > r_.neighbours, path, ": ", images, " images are too few for the distance to the ",
             r_.neighbours, "th neighbour");
  UVIC_CHECK(!is_a || !wants("is") || images >= 10, path, ": ", images,
             " images are too few for the 10 splits of the Inception Score");
  UVIC_CHECK(!is_a || !wants("is") || extractor().has_logits(), extractor().network().string(),
             ": has no last layer (fc), without which there is no Inception Score");
  if (!statistics) check_kind(path, extractor().kind());
}

void Comparison::check_statistics(const std::string& path, const Statistics& given, int64_t num) {
  check_kind(path, given.kind);
  UVIC_CHECK(given.images == 0 || given.images >= num, path, ": is made from ", given.images, " images, ", num,
             " are asked for");
  UVIC_CHECK(!wants("sfid") || given.spatial, path, ": has no mu_s and sigma_s, which sfid needs");
  if (holds_statistics(r_.a) && holds_statistics(r_.b)) return;  // of any features, as long as both agree
  UVIC_CHECK(given.pool3.dims() == Inception::kFeatures, path, ": is of ", given.pool3.dims(),
             " features, Inception has ", Inception::kFeatures);
}

void Comparison::check_kind(const std::string& path, const FeatureKind& kind) {
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

FeatureSet Comparison::extract(ImageSource& source, int64_t num, const FeatureNeeds& needs, const std::string& name) {
  return extractor().extract(source, num > 0 ? num : source.size(), needs, processes_, name);
}

Side Comparison::of_model(const std::string& path, int64_t num, const FeatureNeeds& needs) {
  SampleRequest request = r_.sample;
  request.model = path;
  request.batch = static_cast<int>(r_.features.batch);
  request.seeds.resize(static_cast<size_t>(num));
  std::iota(request.seeds.begin(), request.seeds.end(), r_.seed);
  SampledImages source(request);
  Side s{{path, "model", sha256_of_file(source.model().path), num, source.model().info.step}, {}};
  s.set = extract(source, num, needs, path);
  return s;
}

Side Comparison::of_statistics(const std::string& path, int64_t num, const FeatureNeeds& needs) {
  Side s{{path, "statistics", sha256_of_file(path)}, {}};
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

Side Comparison::side(const std::string& path, int64_t num, const FeatureNeeds& needs) {
  if (holds_statistics(path)) return of_statistics(path, num, needs);
  if (is_model(path)) return of_model(path, num, needs);
  const auto source = open_images(path);
  Side s{{path, "images"}, {}};
  s.set = extract(*source, num, needs, path);
  s.about.images = s.set.statistics.images;
  return s;
}

FidResult Comparison::begin(const Side& a) const {
  FidResult result{.a = a.about, .kind = a.set.statistics.kind};
  if (extractor_) {
    result.kind = extractor_->kind();
    result.network = extractor_->network().string();
    if (result.kind.network != kPublishedNetwork)
      result.warnings.push_back(result.network +
                                " is not the published network: compare only with values of the same file");
  }
  return result;
}

void Comparison::add_frechet(FidResult& result, const char* name, const Gaussian& a, const Gaussian& b) const {
  const FrechetDistance f = frechet_distance(a, b);
  result.values.emplace_back(name, f.distance);
  if (f.rank1 < a.dims())
    result.warnings.push_back(concat(name, ": the covariance of ", result.a.path, " has rank ", f.rank1, " of ",
                                     a.dims(), ": its other eigenvalues count as zero"));
}

FidResult Comparison::compare(const Side& a, const Side& b) const {
  FidResult result = begin(a);
  result.b = b.about;
  if (result.kind.protocol.empty()) result.kind = b.set.statistics.kind;
  for (const Side* s : {&a, &b}) {
    if (s->set.statistics.kind.protocol.empty())
      result.warnings.push_back(s->about.path +
                                " does not say with which protocol and network it was made: it is taken as it is");
    if (s->about.images > 0 && s->about.images < kFewImages)
      result.warnings.push_back(concat(s->about.path, " has ", s->about.images, " images: below ", kFewImages,
                                       " a FID is too large; compare only with values of as many"));
  }
  const Statistics &x = a.set.statistics, &y = b.set.statistics;
  const auto add = [&](const char* name, double value) { result.values.emplace_back(name, value); };
  if (wants("fid")) add_frechet(result, "fid", x.pool3, y.pool3);
  if (wants("sfid")) add_frechet(result, "sfid", *x.spatial, *y.spatial);
  if (wants("is")) {
    add("is_mean", a.set.torch_fidelity_score->mean);
    add("is_std", a.set.torch_fidelity_score->std);
    add("is_adm", a.set.adm_score->mean);
  }
  const Tensor fake = a.set.rows.tensor, real = b.set.rows.tensor;
  if (wants("kid")) {
    const Kid kid = kid_of_subsets(fake, real, r_.kid);
    add("kid_mean", kid.mean);
    add("kid_std", kid.std);
    add("kid_unbiased", kid_unbiased(fake, real));
  }
  if (wants("pr")) {
    const PrecisionRecall pr = precision_recall(real, fake, r_.neighbours);
    add("precision", pr.precision);
    add("recall", pr.recall);
    add("prdc_precision", pr.open_precision);
    add("prdc_recall", pr.open_recall);
    add("density", pr.density);
    add("coverage", pr.coverage);
  }
  return result;
}

std::vector<FidResult> Comparison::run() {
  const bool rows = wants("kid") || wants("pr"), sfid = wants("sfid");
  const FeatureNeeds of_a{.spatial = sfid, .scores = wants("is"), .rows = rows}, of_b{.spatial = sfid, .rows = rows};
  std::vector<std::string> paths{r_.a};
  if (fs::is_directory(r_.a) && !is_model(r_.a)) {
    const std::vector<fs::path> checkpoints = list_checkpoints(r_.a);  // by falling step
    if (!checkpoints.empty()) paths.assign(checkpoints.rbegin(), checkpoints.rend());
  }
  preflight(r_.b, r_.num_ref, false);
  for (const std::string& path : paths) preflight(path, r_.num, true);
  const Side b = side(r_.b, r_.num_ref, of_b);
  std::vector<FidResult> results;
  for (const std::string& path : paths) {
    const Side a = side(path, r_.num, of_a);
    results.push_back(processes_.first() ? compare(a, b) : FidResult{});
  }
  return results;
}

FidResult Comparison::reference(const fs::path& out) {
  UVIC_CHECK(!holds_statistics(r_.a), r_.a, ": is statistics already");
  if (processes_.first()) AtomicFile{out};  // what cannot be written is said before the work
  preflight(r_.a, r_.num, false);
  const Side a = side(r_.a, r_.num, {.spatial = true});
  if (processes_.first()) write_statistics(out, a.set.statistics);
  return begin(a);
}

}  // namespace

std::vector<FidResult> compare_sets(const FidRequest& request, Processes& processes) {
  return Comparison(request, processes).run();
}

FidResult write_reference(const FidRequest& request, const fs::path& out, Processes& processes) {
  return Comparison(request, processes).reference(out);
}

}  // namespace uvic
