// Arrays as NumPy writes them: every golden file, and files made by hand whose fields lie.

#include "model/io/npz.h"

#include <nlohmann/json.hpp>

#include "model/io/file.h"
#include "tests/check.h"
#include "tests/model/zip_bytes.h"

namespace uvic::test {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

std::string npy(const std::string& dict, const std::string& data) {
  return concat("\x93NUMPY\x01", std::string(1, '\0'), le(static_cast<uint16_t>(dict.size())), dict, data);
}
std::span<const std::byte> bytes_of(const std::string& s) { return std::as_bytes(std::span(s.data(), s.size())); }

// The elements of a tensor of a safetensors file, of any dtype, ours or not.
std::vector<double> golden(const std::string& file, const std::string& name) {
  uint64_t length = 0;
  std::memcpy(&length, file.data(), 8);
  const json info = json::parse(file.substr(8, length))[name];
  const std::string type = info["dtype"];
  std::vector<double> out;
  const size_t begin = 8 + length + info["data_offsets"][0].get<size_t>(),
               end = 8 + length + info["data_offsets"][1].get<size_t>();
  const auto all = [&]<class T>(T value) {
    for (size_t i = begin; i < end; i += sizeof value) {
      std::memcpy(&value, &file[i], sizeof value);
      out.push_back(static_cast<double>(value));
    }
  };
  if (type == "F64") all(double{});
  if (type == "F32") all(float{});
  if (type == "I64") all(int64_t{});
  if (type == "I32") all(int32_t{});
  if (type == "U16") all(uint16_t{});
  if (type == "I8") all(int8_t{});
  if (type == "U8" || type == "BOOL") all(uint8_t{});
  if (type == "F16") {
    const Tensor half(const_cast<char*>(&file[begin]), DType::f16, {static_cast<int64_t>(end - begin) / 2});
    OwnedTensor wide({}, DType::f32, half.shape());
    convert(half, wide.tensor);
    out = values(wide.tensor);
  }
  return out;
}

std::vector<double> elements(Tensor t) {
  if (t.dtype() == DType::boolean) return values(Tensor(t.raw(), DType::u8, t.shape()));
  if (t.dtype() != DType::f16) return values(t);
  OwnedTensor wide({}, DType::f32, t.shape());
  convert(t, wide.tensor);
  return values(wide.tensor);
}

TEST(Npz, ReadsGoldenFiles) {
  const fs::path folder = reference_dir("eval") / "npz";
  const MappedFile mapped(folder / "expected.safetensors");
  const std::string expected(reinterpret_cast<const char*>(mapped.bytes().data()), mapped.bytes().size());
  const MappedFile listed(folder / "expected.json");
  const json files = json::parse(reinterpret_cast<const char*>(listed.bytes().data()),
                                 reinterpret_cast<const char*>(listed.bytes().data()) + listed.bytes().size())["files"];
  int arrays = 0;
  for (const json& f : files) {
    const std::string name = f["file"];
    if (f.contains("error")) continue;
    const NpzFile npz(folder / name);
    EXPECT_EQ(npz.names().size(), f["arrays"].size()) << name;
    for (const json& a : f["arrays"]) {
      const std::string array = a["name"];
      const OwnedTensor t = npz.read(array);
      const std::vector<int64_t> shape = a["shape"];
      EXPECT_EQ(t.tensor.shape(), Shape(shape.begin(), shape.end())) << name << " " << array;
      EXPECT_EQ(elements(t.tensor), golden(expected, name + "/" + array)) << name << " " << array;
      EXPECT_EQ(npz.open(array).header.fortran_order, a["fortran_order"].get<bool>()) << name << " " << array;
      ++arrays;
    }
  }
  EXPECT_GE(arrays, 35);
}

TEST(Npz, RefusesBrokenFiles) {
  const fs::path folder = reference_dir("eval") / "npz";
  EXPECT_NE(error_of([&] { NpzFile(folder / "bad_truncated.npz"); }).find("bad_truncated.npz: cannot open"),
            std::string::npos);
  EXPECT_NE(error_of([&] { NpzFile(folder / "bad_crc.npz").read("mu"); }).find("bad_crc.npz: entry"),
            std::string::npos);
  EXPECT_NE(error_of([&] {
              NpzFile(folder / "bad_header_lies.npz").read("mu");
            }).find("bad_header_lies.npz: mu: its header says 9 elements of 8 bytes, it holds 64 bytes"),
            std::string::npos);
  EXPECT_NE(error_of([&] { NpzFile(folder / "bad_no_sigma.npz").read("sigma"); }).find("has no array \"sigma\""),
            std::string::npos);
}

TEST(Npz, WrittenIsRead) {
  const fs::path path = fs::temp_directory_path() / concat("uvic-npz-", ::getpid(), ".npz");
  const OwnedTensor a = random_tensor(DType::f64, {3, 4}, 1), b = random_tensor(DType::f32, {5}, 2);
  write_npz(path, {{"a", a.tensor}, {"b", b.tensor}});
  const NpzFile npz(path);
  EXPECT_EQ(npz.names(), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(values(npz.read("a").tensor), values(a.tensor));
  EXPECT_EQ(values(npz.read("b").tensor), values(b.tensor));
  EXPECT_NE(error_of([&] { npz.read("a", 100); }).find("at most 100 expected"), std::string::npos);
  auto [header, stream] = npz.open("a");
  EXPECT_EQ(header.shape, Shape({3, 4}));
  double third = 0;
  stream.skip(2 * sizeof third);
  stream.read(&third, sizeof third);
  EXPECT_EQ(third, at(a.tensor, 2));
  stream.skip(9 * sizeof third);
  stream.expect_end();
  EXPECT_NE(error_of([&] { stream.skip(1); }).find("cut short"), std::string::npos);
  fs::remove(path);
}

// Plain arrays are read; arrays of objects, which only running a pickle could read, are refused, harmful or not.
TEST(Npy, GoldenFilesAreReadOrRefused) {
  const fs::path folder = reference_dir("eval") / "npy";
  const MappedFile listed(folder / "expected.json");
  const auto* text = reinterpret_cast<const char*>(listed.bytes().data());
  int plain = 0, refused = 0;
  for (const json& f : json::parse(text, text + listed.bytes().size())) {
    const std::string name = f["file"], how = f.value("how", "");
    const MappedFile file(folder / name);
    if (how.starts_with("plain float32")) {
      EXPECT_EQ(read_npy(file.bytes(), name).tensor.dtype(), DType::f32) << name;
      ++plain;
    } else {
      EXPECT_NE(
          error_of([&] { read_npy(file.bytes(), name); }).find(name + ": an array of dtype \"|O\" cannot be read"),
          std::string::npos)
          << name;
      ++refused;
    }
  }
  EXPECT_EQ(plain, 2);
  EXPECT_EQ(refused, 6);
}

TEST(Npy, RefusesWhatItDoesNotKnow) {
  const std::string eight(8, '\0');
  const auto why = [](const std::string& dict, const std::string& data) {
    return error_of([&] { read_npy(bytes_of(npy(dict, data)), "a.npy"); });
  };
  const auto dict = [](const std::string& descr, const std::string& shape) {
    return "{'descr': " + descr + ", 'fortran_order': False, 'shape': " + shape + ", }\n";
  };
  EXPECT_EQ(values(read_npy(bytes_of(npy(dict("'<f8'", "(1,)"), eight)), "a.npy").tensor), std::vector<double>{0});
  EXPECT_NE(why(dict("'<f8'", "(2,)"), eight).find("a.npy: its header says 2 elements"), std::string::npos);
  EXPECT_NE(why(dict("'<f8'", "()"), eight + eight).find("it holds 16 bytes"), std::string::npos);
  EXPECT_NE(why(dict("'|O'", "(1,)"), eight).find("dtype \"|O\" cannot be read"), std::string::npos);
  EXPECT_NE(why(dict("'<c8'", "(1,)"), eight).find("cannot be read"), std::string::npos);
  EXPECT_NE(why(dict("[('a', '<f8')]", "(1,)"), eight).find("records"), std::string::npos);
  EXPECT_NE(why(dict("'<f8'", "(-1,)"), eight).find("damaged array header"), std::string::npos);
  EXPECT_NE(why(dict("'<f8'", "(1 << 60,)"), eight).find("damaged array header"), std::string::npos);
  EXPECT_NE(why(dict("'<f8'", "(4294967296, 4294967296, 4294967296)"), eight).find("overflows"), std::string::npos);
  EXPECT_NE(why(dict("'<f8'", "(0, 99999999999999999999)"), eight).find("damaged"), std::string::npos);
  EXPECT_NE(why(dict("'<f8'", "(1, 1, 1, 1, 1, 1, 1)"), eight).find("more than 6"), std::string::npos);
  EXPECT_NE(why("{'descr': '<f8', 'shape': (1,)}", eight).find("lacks"), std::string::npos);
  EXPECT_NE(why("{'descr': '<f8', 'descr': '<f8'}", eight).find("twice"), std::string::npos);
  EXPECT_NE(why("{'descr': '<f8", eight).find("damaged"), std::string::npos);
  EXPECT_NE(why("", eight).find("damaged"), std::string::npos);
  EXPECT_NE(why(dict("'<u8'", "(1,)"), std::string(8, '\xff')).find("too large for i64"), std::string::npos);
  const std::string whole = npy(dict("'<f8'", "(1,)"), eight);
  for (size_t n = 0; n < whole.size(); ++n)
    EXPECT_FALSE(error_of([&] { read_npy(bytes_of(whole).first(n), "a.npy"); }).empty()) << n;
}

}  // namespace
}  // namespace uvic::test
