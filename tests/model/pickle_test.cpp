// Pickles made by hand: each opcode that is read, and each way to cheat that the golden files do not show.

#include "model/io/pickle.h"

#include "model/io/torch_pickle.h"
#include "tests/check.h"
#include "tests/model/pickle_bytes.h"

namespace uvic::test {
namespace {

namespace fs = std::filesystem;
using namespace std::string_literals;

class Pickle : public ::testing::Test {
 protected:
  // The object in a legacy file.
  const TorchValue& load(const std::string& object, const std::vector<StorageData>& storages = {}) {
    file_ = std::make_unique<TorchFile>(write_file(path_, legacy(kProto + object + ".", storages)));
    return file_->root();
  }

  std::string why_file(const std::string& bytes) {
    write_file(path_, bytes);
    return refusal(path_, [&] { TorchFile{path_}; });
  }

  void refused(const std::string& object, const std::string& why, const std::vector<StorageData>& storages = {}) {
    const std::string what = why_file(legacy(kProto + object + ".", storages));
    EXPECT_NE(what.find(why), std::string::npos) << "wanted: " << why << "\ngot: " << what;
    EXPECT_NE(what, "");
  }

  TempFolder folder_;
  const fs::path path_ = folder_ / "p.pth";
  std::unique_ptr<TorchFile> file_;
};

TEST_F(Pickle, Scalars) {
  EXPECT_TRUE(load("N").as<TorchValue::None>());
  EXPECT_TRUE(*load("\x88").as<bool>());
  EXPECT_FALSE(*load("\x89").as<bool>());
  EXPECT_EQ(*load(concat("J", le(int32_t{-7}))).as<int64_t>(), -7);
  EXPECT_EQ(*load("K\xff").as<int64_t>(), 255);
  EXPECT_EQ(*load("M\xe8\x03").as<int64_t>(), 1000);
  EXPECT_EQ(*load("\x8a\x00"s).as<int64_t>(), 0);
  EXPECT_EQ(*load("\x8a\x01\xff").as<int64_t>(), -1);
  EXPECT_EQ(*load("\x8a\x05\x00\x00\x00\x00\x80"s).as<int64_t>(), -(int64_t{1} << 39));
  EXPECT_EQ(*load(num(INT64_MIN)).as<int64_t>(), INT64_MIN);
  EXPECT_EQ(*load("G\x3f\xf8\0\0\0\0\0\0"s).as<double>(), 1.5);
  EXPECT_EQ(*load(str("text")).as<std::string>(), "text");
  EXPECT_EQ(*load("\x8c\x04text").as<std::string>(), "text");
}

TEST_F(Pickle, ContainersAndMemo) {
  // {"a": [1, 2, 3], "b": the same list, 7: ((8,), (8, 9)), "c": ()}, the last by SETITEM
  const TorchValue& v = load(concat("}q\5(", str("a"), "](K\1K\2eK\3aq\6", str("b"), "h\6", num(7),
                                    "K\10\x85K\10K\11\x86\x86u", str("c"), ")s"));
  EXPECT_EQ(v.as<TorchValue::Dict>()->items.size(), 4u);
  EXPECT_EQ(v.find("a")->as<TorchValue::List>()->items.size(), 3u);
  EXPECT_EQ(v.find("a"), v.find("b"));
  EXPECT_TRUE(v.find(7)->as<TorchValue::List>()->is_tuple);
  EXPECT_EQ(v.find(7)->as<TorchValue::List>()->items.size(), 2u);
  EXPECT_EQ(v.find("c")->as<TorchValue::List>()->items.size(), 0u);
  EXPECT_FALSE(v.find("d"));
  EXPECT_FALSE(v.find(8));
  EXPECT_STREQ(v.type_name(), "dict");
  EXPECT_EQ(load("K\1K\2K\3\x87").as<TorchValue::List>()->items[2]->number(), 3);
}

TEST_F(Pickle, LaterProtocols) {
  const std::string body =
      "\x8c\x0b"
      "collections\x94\x8c\x0bOrderedDict\x94\x93\x94)R\x94\x8c\x01k\x94K\x05s.";
  const std::string object = concat("\x80\x04\x95", le(static_cast<uint64_t>(body.size())), body);
  TorchFile file(write_file(path_, legacy(object)));
  EXPECT_EQ(file.root().find("k")->number(), 5);
  EXPECT_NE(why_file(legacy("\x80\x01N.")).find("protocol 1"), std::string::npos);
  EXPECT_NE(why_file(legacy("\x80\x06N.")).find("protocol 6"), std::string::npos);
}

TEST_F(Pickle, TensorsOverAStorage) {
  const std::vector<StorageData> data{{"7", {0, 1, 2, 3, 4, 5}}};
  EXPECT_EQ(values(*load(tensor(storage("7", 6), 1, {2, 2}, {3, 1}), data).as<Tensor>()),
            (std::vector<double>{1, 2, 4, 5}));
  EXPECT_EQ(values(*load(tensor(storage("7", 6), 0, {3, 2}, {1, 3}), data).as<Tensor>()),
            (std::vector<double>{0, 3, 1, 4, 2, 5}));
  EXPECT_EQ(values(*load(tensor(storage("7", 6), 5, {2, 2}, {0, 0}), data).as<Tensor>()),
            (std::vector<double>{5, 5, 5, 5}));
  EXPECT_EQ(values(*load(tensor(storage("7", 6), 2, {1, 2}, {INT64_MAX, 2}), data).as<Tensor>()),
            (std::vector<double>{2, 4}));
  // A storage that is a part of another: elements 2 to 4.
  const std::string part = storage("7", 6, "FloatStorage", tuple({str("v"), num(2), num(3)}));
  EXPECT_EQ(values(*load(tensor(part, 1, {2}, {1}), data).as<Tensor>()), (std::vector<double>{3, 4}));
  refused(tensor(part, 2, {2}, {1}), "reaches element 4", data);
  refused(tensor(storage("7", 6, "FloatStorage", tuple({str("v"), num(4), num(3)})), 0, {1}, {1}), "a view of", data);
  refused(tensor(storage("7", 6, "FloatStorage", tuple({str("v"), num(INT64_MAX), num(3)})), 0, {1}, {1}), "a view of",
          data);
}

TEST_F(Pickle, RefusesTensorsThatDoNotFitTheirStorage) {
  const std::vector<StorageData> data{{"7", {0, 1, 2, 3, 4, 5}}};
  const std::string s = storage("7", 6);
  refused(tensor(s, 6, {1}, {1}), "reaches element 7", data);
  refused(tensor(s, 7, {0}, {1}), "reaches element 7", data);
  refused(tensor(s, 0, {2, 2}, {5, 1}), "reaches element 7", data);
  refused(tensor(s, -1, {1}, {1}), "is -1", data);
  refused(tensor(s, 0, {-1}, {1}), "is -1", data);
  refused(tensor(s, 0, {2}, {-1}), "is -1", data);
  refused(tensor(s, INT64_MAX, {1}, {1}), "overflows", data);
  refused(tensor(s, 0, {2}, {INT64_MAX}), "overflows", data);
  refused(tensor(s, 0, {1 << 30, 1 << 30, 16}, {0, 0, 0}), "overflows", data);
  refused(tensor(s, 0, {0, INT64_MAX, 2}, {0, 0, 0}), "overflows", data);
  refused(tensor(s, 0, {2, 3}, {1}), "differ in rank", data);
  refused(tensor(s, 0, {1, 1, 1, 1, 1, 1, 1}, {1, 1, 1, 1, 1, 1, 1}), "rank 7", data);
  refused(tensor(s, 0, {int64_t{1} << 40}, {0}), "8 times the size of the file", data);
  refused(list_of({tensor(s, 0, {100}, {0}), tensor(s, 0, {int64_t{1} << 12}, {0})}), "8 times the size of the file",
          data);
  refused(tensor(storage("7", int64_t{1} << 40), 0, {1}, {1}), "8 times the size of the file", data);
  refused(tensor(storage("7", INT64_MAX), 0, {1}, {1}), "overflows", data);
  refused(tensor(storage("7", -1), 0, {0}, {1}), "is -1", data);
  refused(list_of({tensor(s, 0, {1}, {1}), tensor(storage("7", 5), 0, {1}, {1})}), "described twice", data);
  refused(list_of({tensor(s, 0, {1}, {1}), tensor(storage("7", 6, "IntStorage"), 0, {1}, {1})}), "described twice",
          data);
}

TEST_F(Pickle, RefusesOtherGlobalsAndOpcodes) {
  refused(global("posix", "system") + str("true") + "\x85R", "global \"posix system\" is not allowed");
  refused(str("os") + str("system") + "\x93", "global \"os system\" is not allowed");
  refused(global("builtins", "eval"), "global \"builtins eval\"");
  refused(global("torch", "FloatStorage\x1b[2J"), "\\x1b[2J");
  refused(global("torch", "FloatStorage"), "as a value");
  refused(storage("7", 0), "a storage outside a tensor", {{"7", {}}});
  refused(global("torch", "FloatStorage") + ")R", "calls \"torch FloatStorage\"");
  refused(str("x") + ")R", "a str is not what the opcode");
  for (const int opcode : std::initializer_list<int>{'i',  'o',  'I',  'L',  'P',  'S',  'd',  'l',  'p',  'g',
                                                     '0',  '1',  '2',  0x81, 0x82, 0x83, 0x84, 0x8b, 0x8d, 0x8e,
                                                     0x8f, 0x90, 0x91, 0x92, 0x96, 0x97, 0x98, 0,    255})
    refused(std::string(1, static_cast<char>(opcode)), "is not one that a state dict needs");
}

TEST_F(Pickle, RefusesStacksThatDoNotFit) {
  refused("", "ends with 0 objects");
  refused("NN", "ends with 2 objects");
  refused("(N", "ends with 1 objects");
  refused("a", "nothing on the stack");
  refused("N(\x85", "nothing on the stack");  // what lies below a mark is out of reach
  refused("t", "no mark");
  refused("}(Nu", "a key without a value");
  refused("NNa", "a None is not what the opcode");
  refused(")Na", "appends to a tuple");
  refused("h\x05", "reads memo 5");
  refused(concat("j", le(uint32_t{0xffffffff})), "reads memo 4294967295");
  refused("N}b", "a None is not what the opcode");
  refused(concat("X", le(uint32_t{0xffffffff})), "cut short");
  refused("\x8a\x09" + std::string(9, '\1'), "an integer of 9 bytes");
  refused("cno newline", "cut short");
  refused(concat("\x95", le(UINT64_MAX)), "a frame is cut short");
  EXPECT_NE(why_file(legacy(kProto + "N")), "");
}

TEST_F(Pickle, RefusesTreesThatAreNone) {
  refused("]q\1h\1a", "nested more than 32 deep");                        // a list in itself
  refused(concat("}q\1", str("k"), "h\1s"), "nested more than 32 deep");  // a dict in itself
  std::string deep = "N";
  for (int i = 0; i < 100'000; ++i) deep += "\x85";
  refused(deep, "nested more than 32 deep");
  // Each list holds the one before twice: 2^25 paths to the innermost, which must not be walked one by one.
  std::string doubled = "(]q\0"s;
  for (char i = 0; i < 25; ++i) doubled += "](h"s + i + "h" + i + "eq" + static_cast<char>(i + 1);
  EXPECT_EQ(load(doubled + "t").as<TorchValue::List>()->items.size(), 26u);
  refused(concat("}", str("a"), "Ns", str("a"), "Ns"), "\"a\" occurs twice");
  refused(concat("}", num(3), "NsK\3Ns"), "key 3 occurs twice");
  refused("}NNs", "a dict has a None as a key");
  refused("(" + std::string(TorchValues::kMaxValues + 1, 'N') + "t", "more than 1048576 objects");
}

TEST_F(Pickle, RefusesCallsWithOtherArguments) {
  const std::vector<StorageData> data{{"7", {0}}};
  const std::string rebuild = global("torch._utils", "_rebuild_tensor_v2"), s = storage("7", 1);
  refused(call(rebuild, {s, num(0), shape({1}), shape({1})}), "wanted 6 or 7", data);
  refused(call(rebuild, {num(0), num(0), shape({1}), shape({1}), "\x89", "N"}), "argument 0 is a int", data);
  refused(call(rebuild, {s, str("0"), shape({1}), shape({1}), "\x89", "N"}), "argument 1 is a str", data);
  refused(call(rebuild, {s, num(0), num(1), shape({1}), "\x89", "N"}), "argument 2 is a int", data);
  refused(call(global("torch._utils", "_rebuild_parameter"), {num(0), "\x89", "N"}), "argument 0 is a int");
  refused(call(global("torch._utils", "_rebuild_parameter"), {num(0)}), "wanted 3");
  refused(call(global("collections", "OrderedDict"), {"]"}), "OrderedDict with 1 arguments");
  refused("NQ", "no storage of PyTorch's");
  refused(tuple({str("module"), "N", "N", "N", "N"}) + "Q", "wanted \"storage\"");
  refused(tuple({str("storage"), str("FloatStorage"), str("7"), str("cpu"), num(1)}) + "Q", "argument 1 is a str");
  refused(tuple({str("storage"), global("collections", "OrderedDict"), str("7"), str("cpu"), num(1)}) + "Q",
          "a storage of type \"collections OrderedDict\"");
}

TEST_F(Pickle, RefusesLegacyContainersThatDoNotFit) {
  const std::string object = kProto + tensor(storage("7", 2), 0, {2}, {1}) + ".";
  const StorageData good{"7", {1, 2}};
  EXPECT_EQ(why_file(legacy(object, {good})), "");
  EXPECT_NE(why_file(legacy(object, {})).find("0 storages"), std::string::npos);
  EXPECT_NE(why_file(legacy(object, {good, good})).find("2 storages"), std::string::npos);
  EXPECT_NE(why_file(legacy(object, {{"8", {1, 2}}})).find("belongs to no tensor"), std::string::npos);
  EXPECT_NE(why_file(legacy(object, {{"7", {1, 2, 3}}})).find("has 3 elements"), std::string::npos);
  EXPECT_NE(why_file(legacy(object, {good}, "\x88", "x")).find("1 bytes after"), std::string::npos);
  EXPECT_NE(why_file(legacy(object, {good}, "\x89")).find("little-endian"), std::string::npos);
  const std::string two =
      kProto + list_of({tensor(storage("7", 1), 0, {1}, {1}), tensor(storage("8", 1), 0, {1}, {1})}) + ".";
  EXPECT_NE(why_file(legacy(two, {{"7", {1}}, {"7", {1}}})).find("comes twice"), std::string::npos);
  const std::string whole = legacy(object, {good});
  for (size_t n = 0; n < whole.size(); ++n) EXPECT_NE(why_file(whole.substr(0, n)), "") << n;
}

TEST_F(Pickle, RefusesWhatIsNoCheckpoint) {
  for (const std::string& bytes : {""s, "P"s, "PK"s, "PK\3\4"s, "\x80"s, std::string(100, '\0'), "{\"a\": 1}"s})
    EXPECT_NE(why_file(bytes), "");
  EXPECT_NE(refusal(folder_ / "absent", [&] { TorchFile(folder_ / "absent"); }), "");
}

TEST_F(Pickle, FindsTheStateDict) {
  const std::vector<StorageData> data{{"7", {3}}};
  const std::string inner = concat("}", str("w"), tensor(storage("7", 1), 0, {1}, {1}), "s");
  for (const std::string& key : {"state_dict"s, "model"s, "ema"s}) {
    const auto tensors = state_dict(load(concat("}", str("epoch"), "K\5s", str(key), inner, "s"), data));
    ASSERT_EQ(tensors.size(), 1u);
    EXPECT_EQ(tensors[0].name, "w");
    EXPECT_EQ(values(tensors[0].tensor), (std::vector<double>{3}));
  }
  EXPECT_EQ(state_dict(load(inner, data)).size(), 1u);
  EXPECT_NE(error_of([&] { state_dict(load("K\5")); }), "");
  EXPECT_NE(error_of([&] { state_dict(load("}")); }), "");
  EXPECT_NE(error_of([&] { state_dict(load(concat("}", str("w"), "K\5s"))); }).find("\"w\" is a int"),
            std::string::npos);
  EXPECT_NE(error_of([&] { state_dict(load("}K\5K\5s")); }), "");
}

}  // namespace
}  // namespace uvic::test
