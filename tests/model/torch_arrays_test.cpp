// Dicts of NumPy arrays in PyTorch's files: torch-fidelity's are read, ours are read back, nothing hostile is believed.

#include "model/io/torch_arrays.h"

#include "model/io/zip.h"
#include "tests/check.h"
#include "tests/model/pickle_bytes.h"
#include "tests/model/zip_bytes.h"

namespace uvic::test {
namespace {

namespace fs = std::filesystem;

// Some of these files are what the tests of statistics compare, value by value.
fs::path golden(const char* name) { return fs::path(UVIC_SOURCE_DIR) / "tests/data/statistics" / name; }

class TorchArrays : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!ZipFile::supported()) GTEST_SKIP() << "built without libzip";
  }
  fs::path holding(const std::string& pickle) const {
    return write_file(folder_ / "x.pt", zip_bytes({{"x/data.pkl", pickle}, {"x/version", "3\n"}}));
  }
  std::string why(const std::string& pickle) const {
    const fs::path path = holding(pickle);
    return refusal(path, [&] { read_torch_arrays(path); });
  }
  const TempFolder folder_;
};

TEST_F(TorchArrays, WrittenIsRead) {
  const OwnedTensor a = random_tensor(DType::f64, {3, 4}, 1), b = random_tensor(DType::f32, {5}, 2),
                    c = tensor_of(DType::u8, {2}, {7, 255});
  const fs::path path = folder_ / "a.pt";
  write_torch_arrays(path, {{"a", a.tensor}, {"b", b.tensor}, {"c", c.tensor}});
  EXPECT_TRUE(is_torch_arrays(path));
  const std::vector<NamedArray> got = read_torch_arrays(path);
  ASSERT_EQ(got.size(), 3u);
  const Tensor want[] = {a.tensor, b.tensor};  // integers come back in the narrowest of ours that holds every value
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(got[i].array.tensor.dtype(), want[i].dtype());
    EXPECT_EQ(got[i].array.tensor.shape(), want[i].shape());
    EXPECT_EQ(values(got[i].array.tensor), values(want[i]));
  }
  EXPECT_EQ(got[2].name, "c");
  EXPECT_EQ(values(got[2].array.tensor), values(c.tensor));
  EXPECT_NE(error_of([&] {
              write_torch_arrays(path, {{"d", OwnedTensor({}, DType::i64, {1}).tensor}});
            }).find("an array of i64"),
            std::string::npos);
  EXPECT_EQ(read_torch_arrays(path).size(), 3u);  // still the old file
}

TEST_F(TorchArrays, OtherFilesAreNone) {
  EXPECT_TRUE(is_torch_arrays(golden("torch_fidelity_a.pt")));
  for (const char* name : {"uvic_tiny.pth", "uvic_tiny_legacy.pth"})
    EXPECT_FALSE(is_torch_arrays(reference_dir("uvic") / "checkpoints" / name)) << name;
  EXPECT_FALSE(is_torch_arrays(reference_dir("eval") / "npz" / "stats_a.npz"));
  EXPECT_FALSE(is_torch_arrays(write_file(folder_ / "empty.pt", "")));
  EXPECT_FALSE(is_torch_arrays(folder_ / "absent.pt"));
}

TEST_F(TorchArrays, DamagedFilesAreRefusedOrRead) {
  const std::string good = read_file(golden("torch_fidelity_a.pt"));
  const fs::path path = folder_ / "damaged.pt";
  EXPECT_GT(fuzz(good, good.size(), 500, path, [&] { read_torch_arrays(path); }), 250);
}

TEST_F(TorchArrays, WhatIsNoDictOfArraysIsRefused) {
  EXPECT_EQ(why(kProto + "}."), "");
  EXPECT_NE(why(kProto + "].").find("pickle: a list, not a dict of arrays"), std::string::npos);
  EXPECT_NE(why(kProto + "}" + num(1) + "Ns.").find("a key is a int"), std::string::npos);
  EXPECT_NE(why(kProto + "}" + str("mu") + str("x") + "s.").find("\"mu\" is a str, not an array"), std::string::npos);
  EXPECT_NE(why(kProto + "}" + str("mu") + global("os", "system") + "s.").find("not allowed"), std::string::npos);
  EXPECT_NE(why(kProto + "}.x").find("1 bytes after the pickle"), std::string::npos);
}

}  // namespace
}  // namespace uvic::test
