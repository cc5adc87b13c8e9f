#include "model/io/safetensors.h"

#include <sys/stat.h>

#include "kernels/core/text.h"
#include "tests/check.h"
#include "tests/model/hostile.h"

namespace uvic::test {
namespace {

namespace fs = std::filesystem;
using namespace std::string_literals;

// Reads all that there is, so that a bad pointer is met here.
size_t load(const fs::path& path) {
  const SafetensorsFile file(path);
  size_t sum = file.metadata().size();
  for (const std::string& name : file.names())
    for (const char c : bytes_of(file.tensor(name))) sum += static_cast<unsigned char>(c);
  return sum;
}

std::string file_of(const std::string& header, const std::string& data) {
  return concat(le(uint64_t{header.size()}), header, data);
}

std::string tensor_entry(const char* name, const char* dtype, const char* shape, size_t begin, size_t end) {
  return concat("\"", name, "\":{\"dtype\":\"", dtype, "\",\"shape\":", shape, ",\"data_offsets\":[", begin, ",", end,
                "]}");
}

std::string object(const std::vector<std::string>& members) { return concat("{", join(members, ","), "}"); }

TEST(Safetensors, OnlyTheControlsOfTheMalformedFilesLoad) {
  expect_only_controls_load(reference_dir("uvic") / "malformed", ".safetensors", [](const fs::path& p) { load(p); });
}

TEST(Safetensors, GoldenFilesComeBackBitForBit) {
  const TempFolder folder;
  for (const fs::path& path : golden_files(reference_dir("uvic"), "", ".safetensors")) {
    SCOPED_TRACE(path);
    const SafetensorsFile file(path);
    EXPECT_FALSE(file.names().empty());
    std::vector<NamedTensor> tensors;
    for (const std::string& name : file.names()) tensors.push_back({name, file.tensor(name)});
    write_safetensors(folder / "copy.safetensors", tensors, file.metadata());

    const SafetensorsFile copy(folder / "copy.safetensors");
    EXPECT_EQ(copy.metadata(), file.metadata());
    ASSERT_EQ(copy.names().size(), file.names().size());
    for (const NamedTensor& t : tensors) {
      const Tensor got = copy.tensor(t.name);
      EXPECT_EQ(got.dtype(), t.tensor.dtype());
      EXPECT_EQ(got.shape(), t.tensor.shape());
      EXPECT_TRUE(bytes_of(got) == bytes_of(t.tensor)) << t.name;
    }
  }
}

TEST(Safetensors, KeepsOrderMetadataAndAlignment) {
  const TempFolder folder;
  const fs::path path = folder / "a.safetensors";
  const OwnedTensor odd = tensor_of(DType::u8, {3}, {1, 2, 3});
  const OwnedTensor wide = tensor_of(DType::f64, {2}, {0.1, -2});
  const OwnedTensor z = tensor_of(DType::f32, {1, 2}, {3, 4}), a = tensor_of(DType::f32, {}, {5});
  const std::map<std::string, std::string> metadata{{"format", "pt"}, {"quoted \"\n", "gr\u00fcn"}};
  write_safetensors(path,
                    {{"odd", odd.tensor},
                     {"z", z.tensor},
                     {"wide", wide.tensor},
                     {"a", a.tensor},
                     {"none", Tensor(nullptr, DType::f32, {0, 4})}},
                    metadata);

  const SafetensorsFile file(path);
  EXPECT_EQ(file.names(), (std::vector<std::string>{"wide", "z", "a", "none", "odd"}));
  EXPECT_EQ(file.metadata(), metadata);
  EXPECT_EQ(values(file.tensor("odd")), (std::vector<double>{1, 2, 3}));
  EXPECT_EQ(values(file.tensor("wide")), (std::vector<double>{0.1, -2}));
  EXPECT_EQ(values(file.tensor("a")), (std::vector<double>{5}));
  EXPECT_EQ(file.tensor("a").shape(), Shape{});
  EXPECT_EQ(file.tensor("none").shape(), (Shape{0, 4}));
  EXPECT_FALSE(file.tensor("none").empty());
  EXPECT_TRUE(file.contains("z"));
  EXPECT_FALSE(file.contains("y"));
  for (const std::string& name : file.names()) {
    const Tensor t = file.tensor(name);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(t.raw()) % size_of(t.dtype()), 0u) << name;
  }
}

TEST(Safetensors, UnalignedDataIsReadable) {
  const TempFolder folder;
  for (size_t pad = 0; pad < 8; ++pad) {
    const std::string header =
        concat(object({tensor_entry("b", "U8", "[1]", 0, 1), tensor_entry("x", "F64", "[2]", 1, 17),
                       tensor_entry("h", "BF16", "[1]", 17, 19)}),
               std::string(pad, ' '));
    const std::string data = concat("\x07", le(1.5), le(-2.5), le(to_bf16(3).bits));
    const fs::path path = write_file(folder / "u.safetensors", file_of(header, data));
    const SafetensorsFile file(path);
    EXPECT_EQ(file.tensor("b").data<uint8_t>()[0], 7);
    EXPECT_EQ(file.tensor("x").data<double>()[0], 1.5);
    EXPECT_EQ(file.tensor("x").data<double>()[1], -2.5);
    EXPECT_EQ(to_float(file.tensor("h").data<bf16>()[0]), 3.0f);
  }
}

TEST(Safetensors, UnusualButValidHeadersLoad) {
  const TempFolder folder;
  for (const std::string& header : {
           concat(object({tensor_entry("a", "F32", "[]", 0, 4)}), "   \n"),
           object({R"("__metadata__":{})", tensor_entry("a", "F32", "[1,1,1,1,1,1]", 0, 4)}),
           object({tensor_entry("a", "I32", "[1]", 0, 4), tensor_entry("e", "I32", "[0,7]", 0, 0),
                   tensor_entry("f", "I32", "[7,0]", 4, 4)}),
           R"({"a":{"data_offsets":[0,4],"shape":[4],"dtype":"BOOL"}})"s,
       }) {
    SCOPED_TRACE(header);
    EXPECT_EQ(SafetensorsFile(write_file(folder / "v.safetensors", file_of(header, "\1\0\1\1"s))).tensor("a").bytes(),
              4u);
  }
  EXPECT_TRUE(SafetensorsFile(write_file(folder / "v.safetensors", file_of("{}", ""))).names().empty());
}

TEST(Safetensors, RefusesEachKindOfDamage) {
  const TempFolder folder;
  const fs::path path = folder / "m.safetensors";
  const std::string a = tensor_entry("a", "F32", "[1]", 0, 4);
  const auto refused = [&](const std::string& header, const std::string& data, const std::string& why) {
    write_file(path, file_of(header, data));
    const std::string what = refusal(path, [&] { load(path); });
    EXPECT_NE(what.find(why), std::string::npos) << header.substr(0, 200) << "\n" << what;
  };
  const std::string four = "\0\0\0\0"s;
  refused(object({a, a}), four, R"(the header names "a" twice)");
  refused(R"({"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}})", four, R"("dtype" occurs twice)");
  refused(object({R"("__metadata__":{"k":"1","k":"2"})", a}), four, R"("k" occurs twice)");
  refused(object({R"("__metadata__":{"k":1})", a}), four, "a number is not expected");
  refused(object({R"("__metadata__":{"k":{}})", a}), four, "an object is not expected");
  refused(object({R"("__metadata__":[])", a}), four, "an array is not expected");
  refused(R"({"a":{"dtype":"F32","shape":[1]}})", four, "data_offsets is missing");
  refused(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":null}})", four, "null is not expected");
  refused(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":"y"}})", four, "a string is not expected");
  refused(R"({"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}})", four, R"(shape holds "1.0")");
  refused(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}})", four, "wanted 2");
  refused(R"({"a":{"dtype":"F32","shape":[true],"data_offsets":[0,4]}})", four, "true or false");

  const auto refused_shape = [&](const char* shape, const std::string& why) {
    refused(object({tensor_entry("a", "F32", shape, 0, 4)}), four, why);
  };
  refused_shape("[1,1,1,1,1,1,1]", "more than 6");
  refused_shape("[0,4611686018427387904,4]", "overflows");
  refused_shape("[18446744073709551615]", "shape holds 18446744073709551615");
  refused_shape("[18446744073709551616]", R"(shape holds "18446744073709551616")");
  refused_shape("[1e999]", "not valid JSON");
  refused_shape("[-0]", "shape holds 0");

  refused(object({tensor_entry("a", "I8", "[4]", 0, 4)}), four, R"(tensor "a": dtype "I8")");
  refused(object({tensor_entry("a", "F32", "[1]", 4, 8)}), four + four, "begins at 4");
  refused(object({a, tensor_entry("b", "F32", "[1]", 0, 4)}), four, "begins at 0");
  refused("{}", four, "4 bytes after the last tensor");
  refused(concat(object({a}), "{}"), four, "not valid JSON");
  refused("[]", "", "an array is not expected");
  refused("7", "", "a number is not expected");
  refused("", "", "not valid JSON");
  refused("{\"a\xff\":1}", "", "not valid JSON");
  refused(R"({"\u0000\n":[]})", "", R"("\x00\n")");
  refused(concat(R"({"a":)", std::string(1 << 20, '[')), "", "an array is not expected");
  for (const char c : {'[', '{', '"'}) refused(std::string(1 << 20, c), "", ": ");

  write_file(path, le(uint64_t{100'000'001}) + std::string(100'000'001, ' '));
  EXPECT_NE(refusal(path, [&] { load(path); }).find("header of 100000001 bytes"), std::string::npos);
}

TEST(Safetensors, RefusesWhatIsNoFile) {
  const TempFolder folder;
  EXPECT_NE(refusal(folder / "absent", [&] { load(folder / "absent"); }).find("No such file"), std::string::npos);
  EXPECT_NE(refusal(folder.path(), [&] { load(folder.path()); }).find("not a regular file"), std::string::npos);
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_NE(refusal(folder / "pipe", [&] { load(folder / "pipe"); }).find("not a regular file"), std::string::npos);
}

TEST(Safetensors, AnAbsentNameIsAnsweredWithTheNearest) {
  const TempFolder folder;
  const OwnedTensor t = tensor_of(DType::f32, {1}, {1});
  const fs::path path = folder / "n.safetensors";
  write_safetensors(path, {{"in_blocks.0.attn.qkv.weight", t.tensor}, {"norm.weight", t.tensor}}, {});
  const SafetensorsFile file(path);
  const std::string what = refusal(path, [&] { file.tensor("in_block.0.attn.qvk.weight"); });
  EXPECT_NE(what.find("the nearest name is \"in_blocks.0.attn.qkv.weight\""), std::string::npos) << what;
}

TEST(Safetensors, DamagedCopiesLoadOrAreRefused) {
  const TempFolder folder;
  const fs::path path = folder / "f.safetensors";
  for (const fs::path& control : golden_files(reference_dir("uvic") / "malformed", "control_", ".safetensors"))
    EXPECT_GT(fuzz(read_file(control), 160, 4000, path, [&] { load(path); }), 2000);
}

}  // namespace
}  // namespace uvic::test
