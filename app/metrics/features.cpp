#include "app/metrics/features.h"

#include <cstdlib>
#include <cstring>

#include "app/cache_folder.h"
#include "app/in_scope.h"
#include "app/inception_loader.h"
#include "app/sha256.h"
#include "kernels/ops/pointwise.h"
#include "kernels/ops/transfer.h"

namespace uvic {
namespace fs = std::filesystem;
namespace {

constexpr const char* kName = "pt_inception-2015-12-05-6726825d.pth";
constexpr const char* kOtherName = "weights-inception-2015-12-05-6726825d.pth";  // torch-fidelity's, the same bytes
constexpr const char* kAddress =
    "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth";

// PyTorch's, for weights that were downloaded.
fs::path torch_folder() {
  if (const char* folder = std::getenv("TORCH_HOME"); folder && *folder) return folder;
  const char* home = std::getenv("HOME");
  return home && *home ? fs::path(home) / ".cache" / "torch" : fs::path();
}

}  // namespace

Protocol protocol_of_name(const std::string& name) {
  for (const Protocol p : {Protocol::tf1, Protocol::pytorch, Protocol::clean})
    if (name == name_of(p)) return p;
  throw Error("unknown protocol '" + name + "'", "known are tf1, pytorch and clean");
}

Pool pool_of_name(const std::string& name) {
  if (name == "max") return Pool::max;
  if (name == "average") return Pool::average;
  throw Error("unknown pool '" + name + "'", "known are max and average");
}

fs::path find_network() {
  if (const char* file = std::getenv("UVIC_INCEPTION"); file && *file) return file;
  for (const fs::path& place : {cache_folder(), torch_folder() / "hub" / "checkpoints"})
    for (const char* name : {kName, kOtherName})
      if (fs::is_regular_file(place / name)) return place / name;
  throw Error(concat("there is no Inception network: download ", kAddress, " to ", (cache_folder() / kName).string(),
                     ", or name it with --network or UVIC_INCEPTION"),
              concat("its SHA-256 is ", kPublishedNetwork));
}

FeatureExtractor::FeatureExtractor(const FeatureOptions& options)
    : options_(options), ctx_({.device = options.device, .threads = options.threads, .timed_plans = timed_plans()}) {
  if (options_.network.empty()) options_.network = find_network();
  kind_ = {name_of(options_.protocol), sha256_of_file(options_.network), options_.pool == Pool::max ? "max" : "average",
           options_.unit};
  const std::string name = options_.network.filename().string();
  UVIC_CHECK(name.find("-6726825d.pth") == std::string::npos || kind_.network == kPublishedNetwork,
             options_.network.string(), ": a damaged download: its SHA-256 is ", kind_.network, ", not ",
             kPublishedNetwork);
  inception_ = std::make_unique<Inception>(ctx_, read_weights(options_.network), options_.pool);
}

FeatureSet FeatureExtractor::extract(ImageSource& source, int64_t count, const FeatureNeeds& needs,
                                     Processes& processes, const std::string& name) {
  UVIC_CHECK(count >= 2, name, ": a covariance needs at least two images, here is one");
  UVIC_CHECK(!needs.scores || has_logits(), options_.network.string(), ": has no last layer (fc)");
  FeatureSet set;
  Moments pool3(Inception::kFeatures), spatial(needs.spatial ? Inception::kSpatial : 1);
  std::optional<InceptionScore> fidelity, adm;
  if (needs.scores) {
    fidelity.emplace(torch_fidelity_splits(count), inception_->classes());
    adm.emplace(adm_splits(count), inception_->classes());
  }
  if (needs.rows) set.rows = OwnedTensor({}, DType::f32, {count, Inception::kFeatures});

  InceptionLoader loader(source, {.protocol = options_.protocol,
                                  .unit = options_.unit,
                                  .count = count,
                                  .batch = options_.batch,
                                  .threads = options_.decode_threads,
                                  .memory = host_memory_for(options_.device),
                                  .world = {processes.rank(), processes.size()}});
  Progress progress("features of " + name, "image", count,
                    processes.first() ? options_.progress : Progress::Style::quiet);
  // A round is one batch a process. Its features go to all of them, who add them up in the order of the images: so the
  // sums have the same bits however many processes there are.
  const int64_t round = options_.batch * processes.size();
  for (int64_t first = 0; first < count; first += round) {
    if (needs.stop && needs.stop()) return {};
    ctx_.arena().reset();
    const int64_t n = std::min(round, count - first);
    const auto rows = [&](bool wanted, int64_t width) {
      return wanted ? ctx_.empty(DType::f32, {n, width}) : Tensor();
    };
    const Tensor features = rows(true, Inception::kFeatures), maps = rows(needs.spatial, Inception::kSpatial),
                 logits = rows(needs.scores, needs.scores ? inception_->classes() : 0);
    if (!processes.alone())
      for (const Tensor& t : {features, maps, logits})
        if (t) zero(ctx_, t);
    InceptionLoader::Batch batch;
    if (loader.next(batch)) {
      const int64_t begin = batch.first - first, end = begin + batch.x.tensor.dim(0);
      const auto own = [&](Tensor t) { return t ? t.rows(begin, end) : t; };
      in_scope(ctx_, [&] {
        inception_->forward(ctx_, on_device(ctx_, batch.x.tensor),
                            {.pool3 = own(features), .logits_unbiased = own(logits), .spatial = own(maps)});
      });
    }
    const auto read = [&](Tensor t) { return t ? on_host(ctx_, t) : OwnedTensor(); };
    const OwnedTensor host_features = read(features), host_maps = read(maps), host_logits = read(logits);
    for (const OwnedTensor* t : {&host_features, &host_maps, &host_logits})
      if (t->tensor) processes.begin_sum(t->tensor);
    processes.finish_sums();
    try {
      pool3.add(host_features.tensor);
      if (needs.spatial) spatial.add(host_maps.tensor);
      if (needs.scores) fidelity->add(first, host_logits.tensor), adm->add(first, host_logits.tensor);
    } catch (const Error& e) {
      throw Error(concat(name, ": ", e.what()), options_.network.string() + " may be damaged");
    }
    if (needs.rows)
      std::memcpy(set.rows.tensor.rows(first, first + n).raw(), host_features.tensor.raw(), features.bytes());
    progress.update(first + n);
  }
  progress.finish();

  set.statistics = {.pool3 = pool3.result(), .kind = kind_, .images = count};
  if (needs.spatial) set.statistics.spatial = spatial.result();
  if (needs.scores) set.torch_fidelity_score = fidelity->result(), set.adm_score = adm->result();
  return set;
}

}  // namespace uvic
