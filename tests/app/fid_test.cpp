// From images to metrics: against golden values, and what must not change them.

#include "app/fid_report.h"
#include "app/sha256.h"
#include "tests/app/fid_fixtures.h"
#include "tests/app/tiny_run.h"

namespace uvic::test {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

class FidTest : public FolderTest {
 protected:
  FidTest() { write_golden_sets(dir_); }
  FidRequest request(const fs::path& a, const fs::path& b, std::vector<std::string> metrics = {"fid"}) const {
    return fid_request(a, b, network_.path(), std::move(metrics));
  }
  FidRequest golden(std::vector<std::string> metrics = {"fid"}) const {
    return request(dir_ / "sample.npz", dir_ / "ref.npz", std::move(metrics));
  }
  // The images of a golden set as PNG files, the first with the last name if backwards.
  fs::path folder(const std::string& set, bool backwards = false) {
    const OwnedTensor images = NpzFile(dir_ / (set + ".npz")).read("arr_0");
    const int64_t n = images.tensor.dim(0);
    fs::create_directories(dir_ / set / "deep");
    for (int64_t i = 0; i < n; ++i) {
      Image image = image_of(images.tensor, i);
      write_png(dir_ / set / "deep" / concat("img", 100 + (backwards ? n - 1 - i : i), ".PNG"), image.tensor());
    }
    return dir_ / set;
  }
  std::string why(const FidRequest& r) {
    Processes alone{World{}};
    return error_of([&] { compare_sets(r, alone); });
  }

  NetworkFile network_;
};

void expect_near(double got, double want, double relative, const char* what) {
  EXPECT_NEAR(got, want, relative * std::abs(want)) << what;
}

TEST_F(FidTest, MatchesReferenceFromImagesToMetrics) {
  const json want = golden_json(reference_dir("eval") / "inception" / "end_to_end.json");
  const auto adm = compare(golden({"fid", "sfid", "is", "kid", "pr"}));
  expect_near(adm.at("fid"), want["adm"]["fid"]["exact"], 1e-4, "fid");
  expect_near(adm.at("sfid"), want["adm"]["sfid"]["exact"], 1e-4, "sfid");
  expect_near(adm.at("is_adm"), want["adm"]["inception_score"], 1e-4, "is");
  expect_near(adm.at("kid_unbiased"), want["adm"]["kid"], 1e-4, "kid");
  EXPECT_DOUBLE_EQ(adm.at("precision"), want["adm"]["precision_recall"]["precision"]);
  EXPECT_DOUBLE_EQ(adm.at("recall"), want["adm"]["precision_recall"]["recall"]);
  const json& prdc = want["adm"]["prdc_k3"];
  EXPECT_DOUBLE_EQ(adm.at("prdc_precision"), prdc["precision"]);
  EXPECT_DOUBLE_EQ(adm.at("prdc_recall"), prdc["recall"]);
  EXPECT_DOUBLE_EQ(adm.at("density"), prdc["density"]);
  EXPECT_DOUBLE_EQ(adm.at("coverage"), prdc["coverage"]);

  FidRequest pytorch = golden();
  pytorch.features.protocol = Protocol::pytorch;
  expect_near(compare(pytorch).at("fid"), want["pytorch_fid"]["fid"]["exact"], 1e-4, "pytorch-fid's");
}

TEST_F(FidTest, NeitherBatchesNorThreadsNorFilesMatter) {
  const std::vector<std::string> all{"fid", "sfid", "is", "kid", "pr"};
  const auto want = compare(golden(all));
  FidRequest small = golden(all);
  small.features.batch = 5;
  small.features.decode_threads = 3;
  small.features.threads = 1;
  for (const auto& [name, value] : compare(small)) expect_near(value, want.at(name), 1e-9, name.c_str());

  const auto files = compare(request(folder("sample"), folder("ref"), all));
  for (const auto& [name, value] : files) EXPECT_EQ(value, want.at(name)) << name;

  // Which images are drawn into a subset or a split depends on their order; what is a mean over all does not.
  const auto backwards = compare(request(folder("sample", true), folder("ref", true), {"fid", "sfid", "kid", "pr"}));
  for (const char* name : {"fid", "sfid", "kid_unbiased", "precision", "recall", "density", "coverage"})
    expect_near(backwards.at(name), want.at(name), 1e-9, name);
}

TEST_F(FidTest, ASetAgainstItselfIsZero) {
  const auto same = compare(request(dir_ / "ref.npz", dir_ / "ref.npz", {"fid", "sfid", "pr"}));
  EXPECT_LT(same.at("fid"), 1e-6);
  EXPECT_LT(same.at("sfid"), 1e-6);
  EXPECT_EQ(same.at("precision"), 1);
  EXPECT_EQ(same.at("coverage"), 1);
}

TEST_F(FidTest, StatisticsStandForTheirImages) {
  Processes alone{World{}};
  const fs::path stats = dir_ / "stats.npz";
  write_reference(request(dir_ / "ref.npz", {}), stats, alone);
  EXPECT_EQ(NpzFile(stats).names(), (std::vector<std::string>{"mu", "sigma", "mu_s", "sigma_s", "uvic"}));
  for (const char* name : {"mu", "sigma", "mu_s", "sigma_s"})
    EXPECT_EQ(NpzFile(stats).read(name).tensor.dtype(), DType::f64) << name;
  const auto want = compare(golden({"fid", "sfid"}));
  FidRequest r = golden({"fid", "sfid"});
  r.b = stats.string();
  EXPECT_EQ(compare(r), want);

  const FidResult result = compare_sets(r, alone).results.at(0);
  EXPECT_EQ(result.kind.protocol, "tf1");
  EXPECT_EQ(result.kind.network, sha256_of_file(network_.path()));
  EXPECT_EQ(result.a.images, 12);
  EXPECT_EQ(result.b.images, 14);
  EXPECT_EQ(result.b.sha256, sha256_of_file(stats));
  const json j = json::parse(fid_json(result));
  EXPECT_EQ(j["metrics"]["fid"], want.at("fid"));
  EXPECT_EQ(j["b"]["images"], 14);
  EXPECT_EQ(j["protocol"], "tf1");
  EXPECT_NE(j.dump().find("12 images: below 10000"), std::string::npos);
  EXPECT_NE(j.dump().find("rank 11 of 2048"), std::string::npos);
  EXPECT_NE(j.dump().find("not the published network"), std::string::npos);

  r.features.protocol = Protocol::clean;
  EXPECT_NE(why(r).find("its features are of protocol clean"), std::string::npos);
  r = golden();
  r.features.pool = Pool::average;
  r.b = stats.string();
  EXPECT_NE(why(r).find("average pool; those of " + stats.string()), std::string::npos);
  r = golden({"pr"});
  r.b = stats.string();
  EXPECT_NE(why(r).find("holds statistics only"), std::string::npos);
  r = golden();
  r.b = stats.string();
  r.num_ref = 15;
  EXPECT_NE(why(r).find("is made from 14 images, 15 are asked for"), std::string::npos);
}

TEST_F(FidTest, SizesAndGrayAreMixed) {
  fs::create_directories(dir_ / "mixed");
  for (int i = 0; i < 3; ++i) {
    Image image = test_image(20 + 30 * i, 45 - 10 * i, i);
    write_png(dir_ / "mixed" / concat(i, ".png"), image.tensor());
  }
  for (const char* name : {"gray.jpg", "gray.png", "rgba.png", "palette.png"})
    fs::copy(reference_dir("eval") / "images" / name, dir_ / "mixed" / name);
  const auto mixed = compare(request(dir_ / "mixed", dir_ / "ref.npz"));
  EXPECT_GT(mixed.at("fid"), 1);
  EXPECT_LT(compare(request(dir_ / "mixed", dir_ / "mixed")).at("fid"), 1e-6);
}

TEST_F(FidTest, BrokenEmptyAndTooFewAreErrors) {
  const fs::path bad = folder("sample");
  fs::copy(reference_dir("eval") / "images" / "truncated.png", bad / "zz.png");
  EXPECT_NE(why(request(bad, dir_ / "ref.npz")).find("zz.png"), std::string::npos);
  fs::create_directories(dir_ / "empty");
  EXPECT_NE(why(request(dir_ / "empty", dir_ / "ref.npz")).find("no images found"), std::string::npos);
  EXPECT_NE(why(request(dir_ / "nowhere", dir_ / "ref.npz")).find("nowhere: no such file"), std::string::npos);
  const OwnedTensor one({}, DType::u8, {1, 8, 8, 3}), floats({}, DType::f32, {4, 8, 8, 3});
  write_npz(dir_ / "one.npz", {{"arr_0", one.tensor}});
  EXPECT_NE(why(request(dir_ / "one.npz", dir_ / "ref.npz")).find("at least two images, here is one"),
            std::string::npos);
  write_npz(dir_ / "floats.npz", {{"arr_0", floats.tensor}});
  EXPECT_NE(why(request(dir_ / "floats.npz", dir_ / "ref.npz")).find("not RGB images [N, h, w, 3] u8"),
            std::string::npos);

  FidRequest r = golden();
  r.num = 13;
  EXPECT_NE(why(r).find("sample.npz: has 12 images, 13 are asked for"), std::string::npos);
  r = golden({"kid"});
  r.kid.subset_size = 13;
  EXPECT_NE(why(r).find("too few for KID's subsets of 13"), std::string::npos);
  r = golden({"is"});
  r.num = 9;
  EXPECT_NE(why(r).find("9 images are too few for the 10 splits"), std::string::npos);
  r = golden({"pr"});
  r.num_ref = 3;
  EXPECT_NE(why(r).find("ref.npz: 3 images are too few"), std::string::npos);
}

TEST_F(FidTest, NetworkWithoutLastLayerHasNoInceptionScore) {
  const NetworkFile trunk(false);
  EXPECT_NE(why(fid_request(dir_ / "sample.npz", dir_ / "ref.npz", trunk.path(), {"is"})).find("no last layer"),
            std::string::npos);
}

TEST_F(FidTest, ModelsAndRunsAreSampled) {
  write_random_model(dir_ / "run" / "step-00000020" / "model.safetensors", tiny_model(), {"a", "b", "c"}, 2);
  write_random_model(dir_ / "run" / "step-00000010" / "model.safetensors", tiny_model(), {"a", "b", "c"}, 1);
  SampleRequest sample;
  sample.model = dir_ / "run" / "step-00000020";
  sample.generator.sampler.steps = 2;
  sample.generator.guidance.scale = 2;
  sample.dtype = "f32";
  sample.progress = Progress::Style::quiet;
  FidRequest r = request(dir_ / "run", dir_ / "ref.npz");
  r.sample = sample;
  EXPECT_NE(why(r).find("say how many images it should make"), std::string::npos);
  r.num = 12;
  r.seed = 5;
  r.features.batch = 5;
  Processes alone{World{}};
  const std::vector<FidResult> results = compare_sets(r, alone).results;
  ASSERT_EQ(results.size(), 2u);
  EXPECT_NE(results[0].values[0].second, results[1].values[0].second);
  EXPECT_NE(results[0].a.path.find("step-00000010"), std::string::npos);

  for (uint64_t seed = 5; seed < 17; ++seed) sample.seeds.push_back(seed);
  sample.out = dir_ / "images";
  sample_images(sample);
  FidRequest images = request(dir_ / "images", dir_ / "ref.npz");
  EXPECT_EQ(compare(images).at("fid"), results[1].values[0].second);
}

TEST_F(FidTest, WhatIsWrongIsSaidBeforeTheWork) {
  Processes alone{World{}};
  const fs::path none = dir_ / "no-network.safetensors";  // which any work would need
  const auto reference_error = [&](const fs::path& a, const fs::path& out) {
    return error_of([&] { write_reference(fid_request(a, {}, none), out, alone); });
  };
  EXPECT_NE(reference_error(dir_ / "ref.npz", dir_ / "nowhere" / "x.npz").find("x.npz: cannot write"),
            std::string::npos);
  fs::create_directories(dir_ / "taken.npz");
  EXPECT_NE(reference_error(dir_ / "ref.npz", dir_ / "taken.npz").find("something other than a file"),
            std::string::npos);
  EXPECT_FALSE(fs::exists(dir_ / "taken.npz.tmp"));
  const fs::path stats = fs::path(reference_dir("eval")) / "npz" / "stats_a.npz";
  EXPECT_NE(reference_error(stats, dir_ / "x.npz").find("is statistics already"), std::string::npos);
  EXPECT_FALSE(fs::exists(dir_ / "x.npz") || fs::exists(dir_ / "x.npz.tmp"));
  EXPECT_NE(why(fid_request(dir_ / "ref.npz", stats, none)).find("features, Inception has 2048"), std::string::npos);

  FidRequest r = fid_request(dir_ / "ref.npz", stats, none);
  EXPECT_NE(error_of([&] { check_fid_plot(dir_ / "p.png", r); }).find("checkpoints of a run"), std::string::npos);
}

TEST_F(FidTest, PlotDrawsARun) {
  std::vector<FidResult> results(2);
  results[0].a.step = 10, results[0].values = {{"fid", 20.0}, {"is_mean", 3.0}};
  results[1].a.step = 20, results[1].values = {{"fid", 10.0}, {"is_mean", 4.0}};
  write_fid_plot(dir_ / "p.png", results);
  const Image drawn = read_image(dir_ / "p.png");
  EXPECT_GT(drawn.width, 100);
  results[1].values[0].second = 19;
  write_fid_plot(dir_ / "q.png", results);
  EXPECT_NE(read_image(dir_ / "q.png").rgb, drawn.rgb);
  results[1].values[0].second = 10, results[1].values[1].second = 9;  // no distance: not drawn
  write_fid_plot(dir_ / "q.png", results);
  EXPECT_EQ(read_image(dir_ / "q.png").rgb, drawn.rgb);
  results.pop_back();
  EXPECT_NE(error_of([&] { write_fid_plot(dir_ / "p.png", results); }).find("checkpoints of a run"), std::string::npos);
}

TEST_F(FidTest, StatisticsThatAreNoCovarianceAreRefused) {
  const double mu[2] = {}, negative[4] = {1, 0, 0, -1}, lopsided[4] = {1, 5, 0, 1}, indefinite[4] = {1, 2, 2, 1};
  const auto tensor = [](const double* v, Shape shape) { return Tensor(const_cast<double*>(v), DType::f64, shape); };
  const auto error = [&](const double* sigma) {
    write_npz(dir_ / "s.npz", {{"mu", tensor(mu, {2})}, {"sigma", tensor(sigma, {2, 2})}});
    return why(fid_request(dir_ / "s.npz", dir_ / "s.npz", {}));
  };
  EXPECT_NE(error(negative).find("sigma is no covariance: variance 1 is -1"), std::string::npos);
  EXPECT_NE(error(lopsided).find("not symmetric at [1, 0]"), std::string::npos);
  EXPECT_NE(error(indefinite).find("an eigenvalue is -1"), std::string::npos);
}

TEST(Sha256, KnownAnswers) {  // FIPS 180-4 and NIST's examples
  const auto hash = [](const std::string& s) { return sha256(std::as_bytes(std::span(s.data(), s.size()))); };
  EXPECT_EQ(hash(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hash("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hash("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(hash(std::string(1'000'000, 'a')), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

}  // namespace
}  // namespace uvic::test
