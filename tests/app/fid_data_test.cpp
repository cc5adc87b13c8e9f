// Distances between real images by a trained network, against values computed with other programs:
// shared/data/README.md beside the checkout, where such a folder exists. UVIC_DATA_IMAGES=2000 takes minutes and
// compares all of its table.

#include <cmath>

#include "app/dataset.h"
#include "tests/app/fid_fixtures.h"

namespace uvic::test {
namespace {

namespace fs = std::filesystem;
constexpr int64_t kAll = 2000, kPixels = 32 * 32 * 3;

fs::path data_dir() { return reference_dir("eval").parent_path().parent_path() / "data"; }

// Images [N, 32, 32, 3], the first N / 10 of every class.
OwnedTensor first_of_classes(const std::string& part, int64_t n) {
  DataConfig config;
  config.path = (data_dir() / "cifar10-jpg.tar").string() + ":cifar10/" + part;
  const Dataset data(config);
  OwnedTensor out({}, DType::u8, {n, 32, 32, 3});
  for (int64_t i = 0; i < n; ++i) {
    const Image image = data.load(i / (n / 10) * (data.size() / 10) + i % (n / 10));
    std::memcpy(out.tensor.data<uint8_t>() + i * kPixels, image.rgb.data(), static_cast<size_t>(kPixels));
  }
  return out;
}

// The index in the set of 2000 of image i of n.
int64_t index_in_all(int64_t i, int64_t n) { return i / (n / 10) * (kAll / 10) + i % (n / 10); }

double splitmix(uint64_t k, int add) {
  uint64_t x = 1234 + (k + 1) * 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  x ^= x >> 31;
  return static_cast<double>((x >> 11) + static_cast<uint64_t>(add)) * 0x1p-53;
}

OwnedTensor with_noise(Tensor images) {
  OwnedTensor out({}, DType::u8, images.shape());
  for (int64_t at = 0; at < images.numel(); ++at) {
    const int64_t image = index_in_all(at / kPixels, images.dim(0));
    const auto i = static_cast<uint64_t>(image * kPixels + at % kPixels);
    const double g = std::sqrt(-2 * std::log(splitmix(2 * i, 1))) * std::cos(2 * M_PI * splitmix(2 * i + 1, 0));
    const double y = std::floor(images.data<uint8_t>()[at] + 25 * g + 0.5);
    out.tensor.data<uint8_t>()[at] = static_cast<uint8_t>(std::clamp(y, 0.0, 255.0));
  }
  return out;
}

OwnedTensor blurred(Tensor images) {
  OwnedTensor out({}, DType::u8, images.shape());
  for (int64_t n = 0; n < images.dim(0); ++n)
    for (int64_t r = 0; r < 32; ++r)
      for (int64_t c = 0; c < 32; ++c)
        for (int64_t k = 0; k < 3; ++k) {
          const auto x = [&](int64_t row, int64_t column) {
            return int{images.data<
                uint8_t>()[((n * 32 + std::min<int64_t>(row, 31)) * 32 + std::min<int64_t>(column, 31)) * 3 + k]};
          };
          const int sum = x(r, c) + x(r, c + 1) + x(r + 1, c) + x(r + 1, c + 1);
          out.tensor.data<uint8_t>()[((n * 32 + r) * 32 + c) * 3 + k] = static_cast<uint8_t>((sum + 2) >> 2);
        }
  return out;
}

// Moments of those rows of a set of n whose images make up the set of fewer.
Gaussian gaussian_of_first(Tensor rows, int64_t fewer, bool by_class) {
  const int64_t n = rows.dim(0);
  Moments moments(rows.dim(1));
  for (int64_t i = 0; i < fewer; ++i) {
    const int64_t row = by_class ? i / (fewer / 10) * (n / 10) + i % (fewer / 10) : i;
    moments.add(rows.rows(row, row + 1));
  }
  return moments.result();
}

class FidData : public FolderTest {
 protected:
  // Distances of A from B, cat, blur and noise, of each of the sizes; all features from the largest.
  std::vector<std::vector<double>> distances(const std::vector<int64_t>& sizes, bool unit) {
    const int64_t n = *std::max_element(sizes.begin(), sizes.end());
    FeatureExtractor extractor({.network = data_dir() / "inception_v3_nsfwjs_fp16.safetensors",
                                .protocol = Protocol::pytorch,
                                .pool = Pool::average,
                                .unit = unit,
                                .progress = Progress::Style::quiet});
    const OwnedTensor a = first_of_classes("test", n), b = first_of_classes("train", n), cat = cats(n),
                      blur = blurred(a.tensor), noise = with_noise(a.tensor);
    std::vector<OwnedTensor> rows;
    for (const Tensor& images : {a.tensor, b.tensor, cat.tensor, blur.tensor, noise.tensor}) {
      write_npz(dir_ / "set.npz", {{"arr_0", images}});
      Processes alone{World{}};
      const auto source = open_images((dir_ / "set.npz").string());
      rows.push_back(std::move(extractor.extract(*source, n, {.rows = true}, alone, "set").rows));
    }
    std::vector<std::vector<double>> result;
    for (const int64_t size : sizes) {
      const Gaussian first = gaussian_of_first(rows[0].tensor, size, true);
      EXPECT_LT(frechet_distance(first, first).distance, 1e-6);
      auto& line = result.emplace_back();
      for (size_t other = 1; other < rows.size(); ++other)
        line.push_back(frechet_distance(first, gaussian_of_first(rows[other].tensor, size, other != 2)).distance);
    }
    return result;
  }
  static OwnedTensor cats(int64_t n) {
    DataConfig config;
    config.path = (data_dir() / "cifar10-jpg.tar").string() + ":cifar10/train/cat";
    const Dataset data(config);
    OwnedTensor out({}, DType::u8, {n, 32, 32, 3});
    for (int64_t i = 0; i < n; ++i)
      std::memcpy(out.tensor.data<uint8_t>() + i * kPixels, data.load(i).rgb.data(), static_cast<size_t>(kPixels));
    return out;
  }
  void SetUp() override {
    if (!fs::exists(data_dir() / "inception_v3_nsfwjs_fp16.safetensors")) GTEST_SKIP() << "no " << data_dir();
  }
};

void expect_line(const std::vector<double>& got, const std::vector<double>& want, int64_t size) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < want.size(); ++i) {
    EXPECT_NEAR(got[i], want[i], 1e-3 * want[i]) << size << " images, pair " << i;
    ::testing::Test::RecordProperty(concat("n", size, "_", i), concat(got[i]));
  }
}

TEST_F(FidData, MatchesOtherPrograms) {
  const std::map<int64_t, std::vector<double>> table{{200, {0.227694, 0.326778, 0.335940, 10.523781}},
                                                     {500, {0.109957, 0.203533, 0.264016, 10.319619}},
                                                     {1000, {0.086733, 0.171472, 0.242766, 10.461394}},
                                                     {2000, {0.046915, 0.142652, 0.216682, 10.261160}}};
  const char* most = std::getenv("UVIC_DATA_IMAGES");
  std::vector<int64_t> sizes;
  for (const auto& [size, line] : table)
    if (size <= (most ? std::atoll(most) : 200)) sizes.push_back(size);
  const auto got = distances(sizes, false);
  for (size_t i = 0; i < sizes.size(); ++i) expect_line(got[i], table.at(sizes[i]), sizes[i]);
}

TEST_F(FidData, MatchesOtherProgramsInUnitRange) {
#ifdef __SANITIZE_ADDRESS__
  if (!std::getenv("UVIC_DATA_IMAGES")) GTEST_SKIP() << "minutes in a sanitized build; set UVIC_DATA_IMAGES to run it";
#endif
  expect_line(distances({500}, true)[0], {0.061393, 0.152109, 0.324160, 9.681895}, 500);
}

}  // namespace
}  // namespace uvic::test
