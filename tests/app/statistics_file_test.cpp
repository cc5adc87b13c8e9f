// Files of statistics: theirs read, ours read back, in both forms.

#include "app/metrics/statistics_file.h"

#include "app/metrics/frechet.h"
#include "tests/app/image_fixtures.h"

namespace uvic::test {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

fs::path golden(const std::string& name) { return fs::path(UVIC_SOURCE_DIR) / "tests/data/statistics" / name; }

Gaussian example(int64_t dims, uint64_t seed) {
  Moments moments(dims);
  moments.add(random_tensor(DType::f32, {dims + 5, dims}, seed).tensor);
  return moments.result();
}

TEST(StatisticsFile, TorchFidelitysAreRead) {
  const json want = golden_json(golden("torch_fidelity.json"));
  std::vector<Gaussian> read;
  for (const char* name : {"a", "b"}) {
    const fs::path path = golden(concat("torch_fidelity_", name, ".pt"));
    ASSERT_TRUE(holds_statistics(path));
    const Statistics s = read_statistics(path);
    EXPECT_EQ(s.pool3.mean, want[name]["mu"].get<std::vector<double>>());
    EXPECT_EQ(s.pool3.covariance, want[name]["sigma"].get<std::vector<double>>());
    EXPECT_FALSE(s.spatial);
    EXPECT_EQ(s.kind, FeatureKind{});
    EXPECT_EQ(s.images, 0);
    read.push_back(s.pool3);
  }
  const double fid = want["fid"];
  EXPECT_NEAR(frechet_distance(read[0], read[1]).distance, fid, 1e-6 * fid);  // its means are in f32
}

class StatisticsFileFolder : public FolderTest {};

TEST_F(StatisticsFileFolder, OwnAreReadBackInBothForms) {
  const Statistics s{.pool3 = example(6, 1),
                     .spatial = example(4, 2),
                     .kind = {.protocol = "clean", .network = "0123", .pool = "average", .unit = true},
                     .images = 11};
  for (const char* name : {"s.npz", "s.pt"}) {
    SCOPED_TRACE(name);
    write_statistics(dir_ / name, s);
    EXPECT_TRUE(holds_statistics(dir_ / name));
    const Statistics got = read_statistics(dir_ / name);
    EXPECT_EQ(got.kind, s.kind);
    EXPECT_EQ(got.images, 11);
    ASSERT_TRUE(got.spatial);
    EXPECT_EQ(got.pool3.covariance, s.pool3.covariance);
    EXPECT_EQ(got.spatial->covariance, s.spatial->covariance);
    for (size_t i = 0; i < s.pool3.mean.size(); ++i) {
      const bool f32 = std::string(name) == "s.pt";
      EXPECT_EQ(got.pool3.mean[i], f32 ? static_cast<double>(static_cast<float>(s.pool3.mean[i])) : s.pool3.mean[i]);
    }
  }
}

TEST_F(StatisticsFileFolder, WrongNamesAndContentsAreRefused) {
  const Statistics s{.pool3 = example(3, 1)};
  EXPECT_EQ(error_of([&] { write_statistics(dir_ / "x.txt", s); }),
            (dir_ / "x.txt").string() + ": statistics are written as .npz, or as .pt for torch-fidelity");
  EXPECT_FALSE(fs::exists(dir_ / "x.txt") || fs::exists(dir_ / "x.txt.tmp"));
  write_statistics(dir_ / "s.pt", s);
  fs::copy(dir_ / "s.pt", dir_ / "s.npz");  // a zip archive without the arrays of an .npz
  EXPECT_FALSE(holds_statistics(dir_ / "s.npz"));
  EXPECT_NE(error_of([&] { read_statistics(dir_ / "s.npz"); }).find("s.npz: not statistics: it has no array mu"),
            std::string::npos);
}

}  // namespace
}  // namespace uvic::test
