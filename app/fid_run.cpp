#include "app/fid_run.h"

#include "app/fid_sides.h"
#include "app/metrics/precision_recall.h"
#include "model/checkpoint.h"
#include "model/io/file.h"

namespace uvic {
namespace fs = std::filesystem;
namespace {

constexpr int64_t kFewImages = 10'000;

class Comparison {
 public:
  Comparison(const FidRequest& request, Processes& processes)
      : r_(request), processes_(processes), sides_(request, processes) {}

  FidOutcome run();
  FidOutcome reference(const fs::path& out);

 private:
  FidResult begin(const FidFeatures& a) const;
  FidResult compare(const FidFeatures& a, const FidFeatures& b) const;
  void add_frechet(FidResult& result, const char* name, const Gaussian& a, const Gaussian& b) const;

  const FidRequest& r_;
  Processes& processes_;
  FidSides sides_;
};

FidResult Comparison::begin(const FidFeatures& a) const {
  FidResult result{.a = a.about, .kind = a.set.statistics.kind};
  if (const FeatureExtractor* extractor = sides_.extractor()) {
    result.kind = extractor->kind();
    result.network = extractor->network().string();
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

FidResult Comparison::compare(const FidFeatures& a, const FidFeatures& b) const {
  FidResult result = begin(a);
  result.b = b.about;
  if (result.kind.protocol.empty()) result.kind = b.set.statistics.kind;
  for (const FidFeatures* s : {&a, &b}) {
    if (s->set.statistics.kind.protocol.empty())
      result.warnings.push_back(s->about.path +
                                " does not say with which protocol and network it was made: it is taken as it is");
    if (s->about.images > 0 && s->about.images < kFewImages)
      result.warnings.push_back(concat(s->about.path, " has ", s->about.images, " images: below ", kFewImages,
                                       " a FID is too large; compare only with values of as many"));
  }
  const Statistics &x = a.set.statistics, &y = b.set.statistics;
  const auto add = [&](const char* name, double value) { result.values.emplace_back(name, value); };
  if (sides_.wants("fid")) add_frechet(result, "fid", x.pool3, y.pool3);
  if (sides_.wants("sfid")) add_frechet(result, "sfid", *x.spatial, *y.spatial);
  if (sides_.wants("is")) {
    add("is_mean", a.set.torch_fidelity_score->mean);
    add("is_std", a.set.torch_fidelity_score->std);
    add("is_adm", a.set.adm_score->mean);
  }
  const Tensor fake = a.set.rows.tensor, real = b.set.rows.tensor;
  if (sides_.wants("kid")) {
    const Kid kid = kid_of_subsets(fake, real, r_.kid);
    add("kid_mean", kid.mean);
    add("kid_std", kid.std);
    add("kid_unbiased", kid_unbiased(fake, real));
  }
  if (sides_.wants("pr")) {
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

FidOutcome Comparison::run() {
  const bool rows = sides_.wants("kid") || sides_.wants("pr"), sfid = sides_.wants("sfid");
  const FeatureNeeds of_a{.spatial = sfid, .scores = sides_.wants("is"), .rows = rows},
      of_b{.spatial = sfid, .rows = rows};
  std::vector<std::string> paths{r_.a};
  if (fs::is_directory(r_.a) && !is_model(r_.a)) {
    const std::vector<fs::path> checkpoints = list_checkpoints(r_.a);  // by falling step
    if (!checkpoints.empty()) paths.assign(checkpoints.rbegin(), checkpoints.rend());
  }
  sides_.check(r_.b, r_.num_ref, false);
  for (const std::string& path : paths) sides_.check(path, r_.num, true);
  const FidFeatures b = sides_.features(r_.b, r_.num_ref, of_b);
  FidOutcome outcome;
  for (const std::string& path : paths) {
    if (sides_.stopped()) break;
    const FidFeatures a = sides_.features(path, r_.num, of_a);
    if (!sides_.stopped()) outcome.results.push_back(processes_.first() ? compare(a, b) : FidResult{});
  }
  outcome.interrupted = sides_.stopped();
  return outcome;
}

FidOutcome Comparison::reference(const fs::path& out) {
  UVIC_CHECK(!holds_statistics(r_.a), r_.a, ": is statistics already");
  check_statistics_name(out);
  if (processes_.first()) AtomicFile{out};  // what cannot be written is said before the work
  sides_.check(r_.a, r_.num, false);
  const FidFeatures a = sides_.features(r_.a, r_.num, {.spatial = true});
  if (sides_.stopped()) return {.interrupted = true};
  if (processes_.first()) write_statistics(out, a.set.statistics);
  return {.results = {begin(a)}};
}

}  // namespace

FidOutcome compare_sets(const FidRequest& request, Processes& processes) {
  return Comparison(request, processes).run();
}

FidOutcome write_reference(const FidRequest& request, const fs::path& out, Processes& processes) {
  return Comparison(request, processes).reference(out);
}

}  // namespace uvic
