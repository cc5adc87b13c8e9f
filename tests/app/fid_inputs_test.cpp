// Sets of images as they should not be: each gives the right number or one clear error.

#include <algorithm>

#include "tests/app/fid_fixtures.h"
#include "tests/app/tar_bytes.h"

namespace uvic::test {
namespace {

namespace fs = std::filesystem;

class FidInputs : public FolderTest {
 protected:
  FidInputs() { write_golden_sets(dir_); }
  std::string why(const fs::path& a, const fs::path& b, const fs::path& network) {
    Processes alone{World{}};
    return error_of([&] { compare_sets(fid_request(a, b, network), alone); });
  }
  fs::path npz(const std::string& name, const Shape& shape, uint8_t value = 0) {
    const OwnedTensor images({}, DType::u8, shape);
    std::fill_n(images.tensor.data<uint8_t>(), images.tensor.numel(), value);
    write_npz(dir_ / name, {{"arr_0", images.tensor}});
    return dir_ / name;
  }
};

TEST_F(FidInputs, WhatHoldsNoRgbImagesIsRefused) {
  const fs::path no_network = dir_ / "none.safetensors";  // what is asked for only after the images
  const auto expect = [&](const fs::path& side, const std::string& message) {
    const std::string error = why(dir_ / "ref.npz", side, no_network);
    EXPECT_NE(error.find(message), std::string::npos) << error;
    EXPECT_EQ(error.find('\n'), std::string::npos) << error;
  };
  expect(npz("zero.npz", {0, 8, 8, 3}), "zero.npz: arr_0 is [0, 8, 8, 3]: it holds no images");
  expect(npz("flat.npz", {4, 0, 8, 3}), "flat.npz: arr_0 is [4, 0, 8, 3]: it holds no images");
  expect(npz("gray.npz", {4, 8, 8}), "gray.npz: arr_0 is u8 [4, 8, 8], not RGB images [N, h, w, 3] u8");
  expect(npz("gray1.npz", {4, 8, 8, 1}), "gray1.npz: arr_0 is u8 [4, 8, 8, 1], not RGB images [N, h, w, 3] u8");
  expect(npz("rgba.npz", {4, 8, 8, 4}), "rgba.npz: arr_0 is u8 [4, 8, 8, 4], not RGB images [N, h, w, 3] u8");
  write_text(dir_ / "empty.tar", kTarEnd);
  expect(dir_ / "empty.tar", "empty.tar: no images found");
  write_text(dir_ / "notes.tar", tar_entry("readme.md", "no image") + kTarEnd);
  expect(dir_ / "notes.tar", "notes.tar: no images found");
  write_text(dir_ / "noise.tar", std::string(2000, 'x'));
  expect(dir_ / "noise.tar", "noise.tar: ");
}

TEST_F(FidInputs, OneImageIsRefusedBeforeTheOtherSidesFeatures) {
  const NetworkFile network;
  const fs::path b = dir_ / "b";  // whose images nobody can decode
  for (const char* name : {"1.png", "2.png", "3.png"}) write_text(b / name, "broken");
  const fs::path one = npz("one.npz", {1, 8, 8, 3});
  EXPECT_EQ(why(one, b, network.path()), one.string() + ": a covariance needs at least two images, here is one");
  EXPECT_NE(why(dir_ / "ref.npz", b, network.path()).find("1.png"), std::string::npos);
}

// Their covariance is zero: what is left of the distance are the means and the other side's variances.
TEST_F(FidInputs, CopiesOfOneImageHaveADistance) {
  const NetworkFile network;
  const fs::path copies = npz("copies.npz", {5, 16, 16, 3}, 90);
  const auto statistics = [&](const fs::path& images) {
    Processes alone{World{}};
    const fs::path path = dir_ / (images.stem().string() + "-stats.npz");
    write_reference(fid_request(images, {}, network.path()), path, alone);
    return read_statistics(path);
  };
  const Gaussian a = statistics(copies).pool3, b = statistics(dir_ / "ref.npz").pool3;
  EXPECT_EQ(*std::max_element(a.covariance.begin(), a.covariance.end()), 0);
  double want = 0;
  for (size_t i = 0; i < a.mean.size(); ++i)
    want += (a.mean[i] - b.mean[i]) * (a.mean[i] - b.mean[i]) + b.covariance[i * (a.mean.size() + 1)];
  EXPECT_NEAR(frechet_distance(a, b).distance, want, 1e-9 * want);
  EXPECT_EQ(frechet_distance(a, a).distance, 0);
}

TEST_F(FidInputs, FeaturesThatAreNotFiniteNameTheImagesAndTheNetwork) {
  const NetworkFile network(true, [](const std::string& name, Tensor t) {
    if (name == "Mixed_7c.branch1x1.bn.bias") t.data<float>()[3] = 3e38f;  // finite; the sum over 8 x 8 is not
  });
  Processes alone{World{}};
  try {
    compare_sets(fid_request(dir_ / "sample.npz", dir_ / "ref.npz", network.path()), alone);
    ADD_FAILURE() << "features that are not finite were taken";
  } catch (const Error& e) {
    EXPECT_EQ(std::string(e.what()), (dir_ / "ref.npz").string() + ": the features of image 0 are not finite");
    EXPECT_EQ(e.hint(), network.path().string() + " may be damaged");
  }
}

}  // namespace
}  // namespace uvic::test
