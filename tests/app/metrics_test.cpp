// Metrics on given features against the published tools' (tests/data/README.md).

#include <nlohmann/json.hpp>
#include <numeric>

#include "app/metrics/frechet.h"
#include "app/metrics/inception_score.h"
#include "app/metrics/kid.h"
#include "app/metrics/numpy_random.h"
#include "app/metrics/precision_recall.h"
#include "tests/app/image_fixtures.h"
#include "tests/golden_model.h"

namespace uvic::test {
namespace {

using nlohmann::json;

constexpr double kRelative = 1e-9;
#define EXPECT_RELATIVE(got, want) EXPECT_NEAR(got, want, kRelative* std::abs(want))

std::filesystem::path folder() { return reference_dir("eval") / "fid"; }

Gaussian gaussian_of(Tensor rows) {
  Moments moments(rows.dim(1));
  moments.add(rows);
  return moments.result();
}

// Full rank 1e-8 relative; singular 1e-6; with eigenvalues down to rounding 1e-7: what the reference's own methods
// keep.
double frechet_tolerance(const json& c) {
  const std::string id = c["id"];
  if (id.starts_with("near_singular")) return 1e-7;
  const bool singular = id.starts_with("lowrank") || id.starts_with("feat") || id.starts_with("zero");
  return singular ? 1e-6 : std::max(1e-8 * c["fid_exact"].get<double>(), 1e-10);
}

TEST(Frechet, MatchesExactValues) {
  const SafetensorsFile file(folder() / "pairs.safetensors");
  const json cases = golden_json(folder() / "pairs.json");
  for (const json& c : cases) {
    const std::string id = c["id"];
    const auto load = [&](const char* side) {
      if (file.contains(id + ".feat" + side)) return gaussian_of(file.tensor(id + ".feat" + side));
      return Gaussian{values(file.tensor(id + ".mu" + side)), values(file.tensor(id + ".sigma" + side))};
    };
    const Gaussian a = load("1"), b = load("2");
    EXPECT_NEAR(frechet_distance(a, b).distance, c["fid_exact"], frechet_tolerance(c)) << id;
    EXPECT_NEAR(frechet_distance(b, a).distance, c["fid_exact"], frechet_tolerance(c)) << id << " the other way round";
    EXPECT_LT(frechet_distance(a, a).distance, 1e-8) << id << " with itself";
  }
  EXPECT_GE(cases.size(), 15u);
}

TEST(Frechet, SaysHowSingularItIs) {
  const SafetensorsFile file(folder() / "pairs.safetensors");
  const FrechetDistance few =
      frechet_distance(gaussian_of(file.tensor("feat64_few.feat1")), gaussian_of(file.tensor("feat64_few.feat2")));
  EXPECT_EQ(few.rank1, 19);  // of 20 images, one goes to the mean
  EXPECT_EQ(few.rank_both, 19);
  EXPECT_NEAR(few.trace1, 25.600954121521827, 1e-9);
  EXPECT_NEAR(few.mean_term, 1.7002591141039947, 1e-9);
}

// As features have it: a few large eigenvalues and many of 1e-7 of them, whose squares are rounding. The two
// covariances share their axes, so the distance is sum (sqrt(a) - sqrt(b))^2.
TEST(Frechet, KeepsManySmallEigenvalues) {
  constexpr int64_t d = 192;
  const OwnedTensor axis = random_tensor(DType::f64, {d}, 8);
  const std::vector<double> u = values(axis.tensor);
  const double norm = std::inner_product(u.begin(), u.end(), u.begin(), 0.0);
  // H diag(lambda) H with the reflection H = 1 - 2 u u^T / |u|^2.
  const auto covariance = [&](const std::vector<double>& lambda) {
    Gaussian g{std::vector<double>(d), std::vector<double>(d * d)};
    const auto h = [&](size_t i, size_t j) { return (i == j ? 1 : 0) - 2 * u[i] * u[j] / norm; };
    for (size_t i = 0; i < d; ++i)
      for (size_t j = 0; j < d; ++j)
        for (size_t k = 0; k < d; ++k) g.covariance[i * d + j] += h(i, k) * lambda[k] * h(k, j);
    return g;
  };
  std::vector<double> lambda1(d), lambda2(d);
  double want = 0;
  for (size_t i = 0; i < d; ++i) {
    lambda1[i] = i < 4 ? 1.0 : 1e-7 * (1 + static_cast<double>(i) / d);
    lambda2[i] = i < 4 ? 1.1 : 2e-7;
    want += std::pow(std::sqrt(lambda1[i]) - std::sqrt(lambda2[i]), 2);
  }
  const Gaussian a = covariance(lambda1), b = covariance(lambda2);
  EXPECT_NEAR(frechet_distance(a, b).distance, want, 1e-11);
  EXPECT_EQ(frechet_distance(a, b).rank_both, d);
  EXPECT_LT(frechet_distance(a, a).distance, 1e-11);
}

TEST(Frechet, RefusesWhatIsNoStatistics) {
  const Gaussian g{{0, 0}, {1, 0, 0, 1}}, other{{0}, {1}}, nan{{0, 0}, {1, 0, 0, NAN}}, torn{{0, 0}, {1, 0, 0}};
  EXPECT_NE(error_of([&] { frechet_distance(g, other); }).find("2 and of 1 dimensions"), std::string::npos);
  EXPECT_NE(error_of([&] { frechet_distance(nan, g); }).find("not finite"), std::string::npos);
  const Gaussian negative{{0, 0}, {1, 0, 0, -1}};
  EXPECT_NE(error_of([&] { frechet_distance(negative, g); }).find("first matrix is no covariance"), std::string::npos);
  EXPECT_NE(error_of([&] { frechet_distance(g, negative); }).find("second matrix is no cov"), std::string::npos);
  EXPECT_NE(error_of([&] { frechet_distance(g, torn); }).find("covariance of 3"), std::string::npos);
}

// Features far from zero, where sums of squares would lose half of their digits.
TEST(Moments, NeitherBatchesNorOrderMatter) {
  OwnedTensor x = random_tensor(DType::f32, {1000, 24}, 5);
  for (int64_t i = 0; i < x.tensor.numel(); ++i) x.tensor.data<float>()[i] += 1000;
  const Gaussian whole = gaussian_of(x.tensor);

  Moments pieces(24), backwards(24);
  for (int64_t i = 0; i < 1000; i += 7) pieces.add(x.tensor.rows(i, std::min<int64_t>(1000, i + 7)));
  for (int64_t i = 1000; i-- > 0;) backwards.add(x.tensor.rows(i, i + 1));
  EXPECT_EQ(pieces.result().covariance, whole.covariance);  // to the bit
  EXPECT_EQ(pieces.result().mean, whole.mean);
  EXPECT_CLOSE_MAX(backwards.result().mean, whole.mean, 1e-15);
  EXPECT_CLOSE_MAX(backwards.result().covariance, whole.covariance, 1e-13);

  std::vector<double> mean(24), variance(24);
  for (int64_t i = 0; i < x.tensor.numel(); ++i) mean[static_cast<size_t>(i % 24)] += at(x.tensor, i) / 1000;
  for (int64_t i = 0; i < x.tensor.numel(); ++i)
    variance[static_cast<size_t>(i % 24)] += std::pow(at(x.tensor, i) - mean[static_cast<size_t>(i % 24)], 2) / 999;
  for (size_t c = 0; c < 24; ++c) EXPECT_RELATIVE(whole.covariance[c * 25], variance[c]) << c;
}

TEST(Moments, RefusesOneImageAndBrokenFeatures) {
  const OwnedTensor x = random_tensor(DType::f32, {1, 4}, 1);
  Moments one(4);
  one.add(x.tensor);
  EXPECT_EQ(error_of([&] { one.result(); }), "a covariance needs at least two images, here is one");
  x.tensor.data<float>()[2] = NAN;
  EXPECT_EQ(error_of([&] { one.add(x.tensor); }), "the features of image 1 are not finite");
}

TEST(PrecisionRecall, MatchesPublishedTools) {
  const SafetensorsFile file(folder() / "metrics.safetensors");
  const json golden = golden_json(folder() / "metrics.json");
  for (const char* set : {"equal", "unequal", "ties", "all_equal"}) {
    const Tensor real = file.tensor(std::string(set) + ".real"), fake = file.tensor(std::string(set) + ".fake");
    const json &adm = golden[set]["precision_recall"]["k3_adm"], &prdc = golden[set]["prdc"];
    const PrecisionRecall p = precision_recall(real, fake, 3);
    EXPECT_DOUBLE_EQ(p.precision, adm["precision"]) << set;
    EXPECT_DOUBLE_EQ(p.recall, adm["recall"]) << set;
    for (const auto& [name, want] : prdc.items()) {
      const bool swapped = name == "k3_swapped";
      const PrecisionRecall q = precision_recall(swapped ? fake : real, swapped ? real : fake, name[1] - '0');
      EXPECT_DOUBLE_EQ(q.open_precision, want["precision"]) << set << " " << name;
      EXPECT_DOUBLE_EQ(q.open_recall, want["recall"]) << set << " " << name;
      EXPECT_DOUBLE_EQ(q.density, want["density"]) << set << " " << name;
      EXPECT_DOUBLE_EQ(q.coverage, want["coverage"]) << set << " " << name;
    }
  }
  EXPECT_NE(error_of([&] {
              precision_recall(file.tensor("ties.real").rows(0, 3), file.tensor("ties.fake"), 3);
            }).find("need at least 4 images a side, here are 3"),
            std::string::npos);
}

TEST(Kid, MatchesPublishedTools) {
  const SafetensorsFile file(folder() / "metrics.safetensors");
  const json golden = golden_json(folder() / "metrics.json");
  for (const char* set : {"equal", "unequal", "ties", "all_equal"}) {
    const Tensor real = file.tensor(std::string(set) + ".real"), fake = file.tensor(std::string(set) + ".fake");
    const json& want = golden[set]["kid"];
    EXPECT_NEAR(kid_unbiased(fake, real), want["unbiased"], 1e-9 * std::abs(want["unbiased"].get<double>()) + 1e-12);
    if (!want.contains("subsets")) continue;
    const json& subsets = want["subsets"];
    const Kid kid = kid_of_subsets(fake, real, {.subsets = subsets["count"], .subset_size = subsets["size"]});
    EXPECT_RELATIVE(kid.mean, subsets["mean"].get<double>()) << set;
    EXPECT_RELATIVE(kid.std, subsets["std"].get<double>()) << set;
    const Tensor f = file.tensor(std::string(set) + ".kid_subset_fake"),
                 r = file.tensor(std::string(set) + ".kid_subset_real");
    for (int64_t i = 0; i < f.dim(0); ++i) {
      const auto rows = [&](Tensor t) {
        return std::span<const int64_t>(t.data<int64_t>() + i * t.dim(1), static_cast<size_t>(t.dim(1)));
      };
      EXPECT_RELATIVE(kid_unbiased(fake, real, rows(f), rows(r)),
                      subsets["values"][static_cast<size_t>(i)].get<double>());
    }
  }
  EXPECT_NE(error_of([&] {
              kid_of_subsets(file.tensor("equal.fake"), file.tensor("equal.real"));
            }).find("subsets of 1000 images, a side has 200"),
            std::string::npos);
}

// Tiles of more than one matrix product, against the definition.
TEST(Kid, LargerThanATile) {
  const OwnedTensor fake = random_tensor(DType::f32, {700, 5}, 1), real = random_tensor(DType::f32, {530, 5}, 2);
  const auto mean = [](Tensor a, Tensor b) {
    double sum = 0, count = 0;
    for (int64_t i = 0; i < a.dim(0); ++i)
      for (int64_t j = 0; j < b.dim(0); ++j) {
        if (a.raw() == b.raw() && i == j) continue;
        double dot = 0;
        for (int64_t c = 0; c < 5; ++c) dot += at(a, i * 5 + c) * at(b, j * 5 + c);
        sum += std::pow(dot / 5 + 1, 3), ++count;
      }
    return sum / count;
  };
  const double want =
      mean(fake.tensor, fake.tensor) + mean(real.tensor, real.tensor) - 2 * mean(fake.tensor, real.tensor);
  EXPECT_RELATIVE(kid_unbiased(fake.tensor, real.tensor), want);
}

TEST(InceptionScore, MatchesPublishedTools) {
  const SafetensorsFile file(folder() / "metrics.safetensors");
  const json want = golden_json(folder() / "metrics.json")["inception_score"];
  const auto score = [](Tensor logits, std::vector<int32_t> splits) {
    const int64_t half = logits.dim(0) / 2;
    InceptionScore sums(splits, logits.dim(1));
    sums.add(half, logits.rows(half, logits.dim(0)));
    sums.add(0, logits.rows(0, half));
    return sums.result();
  };
  const Tensor logits = file.tensor("is.logits"), adm = file.tensor("is.logits_adm");
  const int64_t n = logits.dim(0);
  for (const int splits : {1, 10})
    for (const bool shuffled : {false, true}) {
      const auto got = score(logits, torch_fidelity_splits(n, splits, shuffled));
      const json& w = want[concat("torch_fidelity_splits", splits, shuffled ? "_shuffled" : "")];
      EXPECT_RELATIVE(got.mean, w["mean"].get<double>()) << splits << shuffled;
      EXPECT_NEAR(got.std, w["std"], 1e-9) << splits << shuffled;
    }
  EXPECT_RELATIVE(score(adm, adm_splits(255)).mean, want["adm_split5000_f64"].get<double>());
  EXPECT_RELATIVE(score(adm, adm_splits(255, 64)).mean, want["adm_split64_f64"].get<double>());
  EXPECT_NEAR(score(adm, adm_splits(255, 50)).mean, want["adm_split50"], 1e-6);  // summed in f32 there
  EXPECT_NE(error_of([] { torch_fidelity_splits(9); }).find("needs as many images, here are 9"), std::string::npos);
}

TEST(NumpyRandom, Permutes) {
  const SafetensorsFile file(folder() / "metrics.safetensors");
  const std::vector<int64_t> order = NumpyRandom(2020).permutation(257);
  const std::vector<double> want = values(file.tensor("is.permutation"));
  EXPECT_EQ(std::vector<double>(order.begin(), order.end()), want);
}

}  // namespace
}  // namespace uvic::test
