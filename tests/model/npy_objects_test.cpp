#include "model/io/npy_objects.h"

#include "model/io/file.h"
#include "model/io/safetensors.h"
#include "tests/check.h"
#include "tests/model/pickle_bytes.h"

namespace uvic::test {
namespace {

namespace fs = std::filesystem;

std::vector<NpyObject> read(const fs::path& path) {
  return read_npy_objects(MappedFile(path).bytes(), path.filename().string());
}

// As U-ViT's feature files are, of three protocols.
TEST(NpyObjects, GoldenFilesAreReadOrRefused) {
  const fs::path folder = reference_dir("eval") / "npy";
  const SafetensorsFile expected(folder / "expected.safetensors");
  for (const char* name : {"imagenet_feature.npy", "imagenet_feature_p2.npy", "imagenet_feature_p4.npy"}) {
    const std::vector<NpyObject> got = read(folder / name);
    ASSERT_EQ(got.size(), 2u) << name;
    const Tensor moments = std::get<OwnedTensor>(got[0]).tensor, label = std::get<OwnedTensor>(got[1]).tensor;
    EXPECT_EQ(moments.shape(), Shape({8, 4, 4}));
    EXPECT_EQ(values(moments), values(expected.tensor("imagenet_feature.npy/moments"))) << name;
    EXPECT_EQ(values(label), values(expected.tensor("imagenet_feature.npy/label"))) << name;
  }
  const std::vector<NpyObject> vis = read(folder / "run_vis.npy");
  ASSERT_EQ(vis.size(), 2u);
  EXPECT_EQ(std::get<std::string>(vis[0]), "A green train is coming down the tracks.");
  EXPECT_EQ(values(std::get<OwnedTensor>(vis[1]).tensor), values(expected.tensor("run_vis.npy/context")));
  for (const char* name : {"coco_moments.npy", "coco_context.npy"}) {  // plain arrays
    const std::vector<NpyObject> got = read(folder / name);
    ASSERT_EQ(got.size(), 1u);
    EXPECT_EQ(values(std::get<OwnedTensor>(got[0]).tensor), values(expected.tensor(name))) << name;
  }
  EXPECT_EQ(error_of([&] { read(folder / "bad_pickle_global.npy"); }),
            "bad_pickle_global.npy: pickle: global \"builtins eval\" is not allowed");
  EXPECT_NE(error_of([&] { read(folder / "bad_truncated.npy"); }).find("bad_truncated.npy: "), std::string::npos);
}

std::string object_npy(const std::string& pickle) {
  const std::string dict = "{'descr': '|O', 'fortran_order': False, 'shape': (2,), }\n";
  return concat("\x93NUMPY", '\x01', std::string(1, '\0'), le(static_cast<uint16_t>(dict.size())), dict, "\x80\x03",
                pickle, ".");
}

TEST(NpyObjects, EveryCutAndEveryChangedByteIsSurvived) {
  for (const char* name : {"imagenet_feature_p2.npy", "imagenet_feature_p4.npy"}) {
    const MappedFile file(reference_dir("eval") / "npy" / name);
    for (size_t n = 0; n < file.bytes().size(); ++n)
      EXPECT_FALSE(error_of([&] { read_npy_objects(file.bytes().first(n), "a.npy"); }).empty()) << n;
    std::vector<std::byte> bytes(file.bytes().begin(), file.bytes().end());
    for (std::byte& b : bytes)
      for (const int flip : {0x01, 0x20, 0x80, 0xff}) {
        const std::byte was = std::exchange(b, b ^ static_cast<std::byte>(flip));
        try {
          read_npy_objects(bytes, "a.npy");  // other numbers, or an error
        } catch (const Error& e) {
          EXPECT_TRUE(std::string(e.what()).starts_with("a.npy: ")) << e.what();
        }
        b = was;
      }
  }
}

TEST(NpyObjects, WhatNumpyDoesNotWriteIsRefused) {
  const std::string array = global("numpy.core.multiarray", "_reconstruct") + ")R";
  const std::string dtype = call(global("numpy", "dtype"), {str("f4")});
  const std::string little = dtype + tuple({num(3), str("<")}) + "b";
  const auto state = [&](const std::string& shape, const std::string& type, const std::string& data) {
    return array + tuple({num(1), shape, type, "\x89", data}) + "b";
  };
  const auto why = [](const std::string& pickle) {
    const std::string bytes = object_npy(pickle);
    try {
      read_npy_objects(std::as_bytes(std::span(bytes)), "a.npy");
      return std::string();
    } catch (const Error& e) {
      return std::string(e.what());
    }
  };
  const std::string objects = call(global("numpy", "dtype"), {str("O8")}) + tuple({num(3), str("|")}) + "b";
  const auto holding = [&](const std::string& element) {
    return state(tuple({num(1)}), objects, "](" + element + "e");
  };
  EXPECT_EQ(why(holding(state(tuple({num(1)}), little, std::string("C\x04") + "abcd"))), "");
  EXPECT_NE(why(holding(state(tuple({num(2)}), little, std::string("C\x04") + "abcd"))).find("its header says 2"),
            std::string::npos);
  EXPECT_NE(why(holding(state(tuple({num(-1)}), little, "C\x01x"))).find("a shape that cannot be"), std::string::npos);
  EXPECT_NE(why(holding(state(tuple({num(1)}), dtype, "C\x01x"))).find("not a dtype as NumPy writes it"),
            std::string::npos);
  EXPECT_NE(why(holding(holding(str("x")))).find("an array of objects within one"), std::string::npos);
  EXPECT_NE(why(holding("N")).find("an element is a None"), std::string::npos);
  EXPECT_NE(why(str("x")).find("not an array of objects"), std::string::npos);
  EXPECT_NE(why(call(global("numpy.core.multiarray", "scalar"), {dtype})).find("in a way that NumPy does not"),
            std::string::npos);
  EXPECT_NE(why(call(global("_codecs", "encode"), {str("\xe2\x82\xac")})).find("not latin-1"), std::string::npos);
  EXPECT_NE(why(call(global("numpy", "ndarray"), {})).find("calls numpy ndarray"), std::string::npos);
  EXPECT_NE(why(global("os", "system")).find("not allowed"), std::string::npos);
}

}  // namespace
}  // namespace uvic::test
