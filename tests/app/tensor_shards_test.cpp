#include "app/data/tensor_shards.h"

#include <zlib.h>

#include <functional>
#include <numeric>

#include "tests/app/image_fixtures.h"

namespace uvic {
namespace {

using namespace test;
namespace fs = std::filesystem;

class TensorShardsTest : public FolderTest {
 protected:
  // 10 items in shards of 4. Item i is {i, 10 i} with the name "item<i>"; 5 is broken.
  ShardPlan plan() const {
    return {
        .kind = "images", .items = 10, .items_a_shard = 4, .made = {{"size", int64_t{8}}}, .class_names = {"a", "b"}};
  }

  static void write(TensorShardWriter& writer, int shard) {
    ShardContents contents;
    std::vector<float> values;
    for (int64_t i = writer.items(shard).begin; i < writer.items(shard).end; ++i) {
      if (i == 5) {
        contents.left_out.push_back("item5: broken");
        continue;
      }
      contents.names.push_back("item" + std::to_string(i));
      values.insert(values.end(), {static_cast<float>(i), static_cast<float>(10 * i)});
    }
    contents.tensors = {{"x", Tensor(values.data(), DType::f32, {static_cast<int64_t>(values.size()) / 2, 2})}};
    writer.write(shard, contents);
  }

  void write_all(const fs::path& folder) const {
    TensorShardWriter writer(folder, plan());
    for (int shard = 0; shard < writer.shards(); ++shard) write(writer, shard);
    writer.finish();
  }
};

TEST_F(TensorShardsTest, HoldWhatWasWritten) {
  write_all(dir_ / "out");
  const TensorShards shards(dir_ / "out", "images");
  ASSERT_EQ(shards.items(), 9);
  EXPECT_EQ(shards.shards().size(), 3u);
  EXPECT_EQ(shards.class_names(), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(shards.made("size"), "8");
  EXPECT_EQ(shards.made("absent"), "");
  const std::vector<std::string> names = shards.names();
  ASSERT_EQ(names.size(), 9u);
  for (int64_t i = 0; i < 9; ++i) {
    const int64_t item = i + (i >= 5);
    EXPECT_EQ(names[static_cast<size_t>(i)], "item" + std::to_string(item));
    const auto [shard, row] = shards.at(i);
    EXPECT_EQ(values(shard.tensor("x").rows(row, row + 1)), (std::vector<double>{1.0 * item, 10.0 * item}));
  }
  const nlohmann::json index = golden_json(dir_ / "out" / "images.json");
  EXPECT_EQ(index["items"], 9);
  EXPECT_EQ(index["left_out"], nlohmann::json({"item5: broken"}));
}

// Whichever shards are there, and in whatever order the others are written.
TEST_F(TensorShardsTest, WrittenInPartsTheyHaveTheSameBytes) {
  write_all(dir_ / "whole");
  for (int there = 0; there < 8; ++there) {
    const fs::path out = dir_ / ("out" + std::to_string(there));
    fs::create_directories(out);
    for (int shard = 0; shard < 3; ++shard) {
      const std::string name = concat("images-00000", shard, ".safetensors");
      if (there >> shard & 1) fs::copy(dir_ / "whole" / name, out / name);
    }
    write_text(out / "images-000001.safetensors.tmp", "half a shard");
    TensorShardWriter writer(out, plan());
    TensorShardWriter other(out, plan());  // of another process
    for (int shard = 2; shard >= 0; --shard) {
      EXPECT_EQ(writer.whole(shard), bool(there >> shard & 1));
      if (!writer.whole(shard)) write(shard % 2 ? other : writer, shard);
    }
    TensorShardWriter(out, plan()).finish();
    fs::remove(out / "images-000001.safetensors.tmp");
    for (const auto& item : fs::directory_iterator(dir_ / "whole"))
      EXPECT_TRUE(read_text(out / item.path().filename()) == read_text(item.path())) << item.path() << there;
    EXPECT_EQ(writer.totals().left_out + other.totals().left_out, 1 + (there >> 1 & 1));
  }
}

TEST_F(TensorShardsTest, ADamagedShardIsRefusedByNameAndMadeAgain) {
  const fs::path out = dir_ / "out", shard = out / "images-000001.safetensors";
  write_all(out);
  const std::string want = read_text(shard);
  const auto refused = [&] { return error_of([&] { TensorShards(out, "images"); }); };
  for (const std::string& text : {want.substr(0, want.size() - 9), want.substr(0, 20), want + "more", std::string()}) {
    write_text(shard, text);
    EXPECT_NE(refused().find("images-000001.safetensors: "), std::string::npos) << refused();
  }
  EXPECT_FALSE(TensorShardWriter(out, plan()).whole(1));
  EXPECT_TRUE(TensorShardWriter(out, plan()).whole(2));
  fs::copy(out / "images-000002.safetensors", shard, fs::copy_options::overwrite_existing);  // whole, but another's
  EXPECT_NE(refused().find("is not the shard that images.json means: items 3, here 2"), std::string::npos) << refused();
  EXPECT_FALSE(TensorShardWriter(out, plan()).whole(1));
  fs::remove(shard);
  EXPECT_NE(refused().find("images-000001.safetensors: cannot open"), std::string::npos);
  TensorShardWriter writer(out, plan());
  write(writer, 1);
  EXPECT_TRUE(read_text(shard) == want);
  EXPECT_EQ(TensorShards(out, "images").items(), 9);
}

// A disk that gives back another byte changes no size.
TEST_F(TensorShardsTest, ChecksumsFindAChangedByte) {
  const fs::path out = dir_ / "out", shard = out / "images-000001.safetensors";
  write_all(out);
  EXPECT_TRUE(TensorShards(out, "images").damage(2).empty());
  const std::string want = read_text(shard);
  const auto changed = [&](size_t at) {
    std::string bytes = want;
    bytes[at] = static_cast<char>(bytes[at] ^ 1);
    write_text(shard, bytes);
    const std::vector<std::string> lines = TensorShards(out, "images").damage(2);
    return lines.size() == 1 ? lines[0] : concat(lines.size(), " lines");
  };
  float x[2] = {7, 70};
  EXPECT_EQ(changed(want.find(std::string(reinterpret_cast<char*>(x), sizeof x))),
            shard.string() + ": x changed since it was written");
  EXPECT_EQ(changed(want.rfind("item7")), shard.string() + ": names changed since it was written");
  // Whole, and of the same size, but of another data set: the index knows its checksums.
  std::string other = want;
  other[want.rfind("item7")] = 'I';
  write_text(shard, other);
  const auto crc = [](const std::string& text) {
    return std::to_string(::crc32(0, reinterpret_cast<const Bytef*>(text.data()), static_cast<uInt>(text.size())));
  };
  const std::string mine = crc("item4\nitem6\nitem7\n"), theirs = crc("item4\nitem6\nItem7\n");
  ASSERT_EQ(mine.size(), theirs.size());
  other.replace(other.find(mine), mine.size(), theirs);
  write_text(shard, other);
  EXPECT_NE(error_of([&] { TensorShards(out, "images"); }).find("is not the shard that images.json means: crc32"),
            std::string::npos);
}

TEST_F(TensorShardsTest, NumbersThatAreNotFiniteAreNotWritten) {
  ShardPlan p = plan();
  p.items = 1;
  TensorShardWriter writer(dir_ / "out", p);
  float x[] = {1, INFINITY};
  uint16_t half[] = {float_to_half(1e5f)};
  const auto written = [&](Tensor t) {
    return error_of([&] { writer.write(0, {.names = {"a"}, .tensors = {{"moments", t}}}); });
  };
  EXPECT_NE(written(Tensor(x, DType::f32, {1, 2})).find("000000.safetensors: a number of \"moments\" would not be"),
            std::string::npos);
  EXPECT_NE(written(Tensor(half, DType::f16, {1, 1})).find("would not be finite"), std::string::npos);
  EXPECT_FALSE(writer.whole(0));
  writer.write(0, {.names = {"a"}, .tensors = {{"moments", Tensor(x, DType::f32, {1, 1})}}});
  EXPECT_TRUE(writer.whole(0));
}

TEST_F(TensorShardsTest, WhatIsNotWholeIsRefused) {
  EXPECT_EQ(error_of([&] { TensorShards(dir_, "images"); }),
            dir_.string() + ": no images that uvic-encode made are here");
  TensorShardWriter writer(dir_ / "out", plan());
  write(writer, 0);
  EXPECT_NE(error_of([&] { TensorShards(dir_ / "out", "images"); }).find("its images are not whole"),
            std::string::npos);
  EXPECT_NE(error_of([&] { writer.finish(); }).find("images-000001.safetensors: cannot open"), std::string::npos);
  for (const char* json : {"", "[]", "{}", R"({"format":"uvic-tensors-1","made":{"kind":"images"},"classes":3})",
                           R"({"format":"uvic-tensors-1","made":{"kind":"text"},"classes":[],"shards":[]})",
                           R"({"format":"uvic-tensors-1","made":{"kind":"images"},"classes":[],"shards":[]})"}) {
    write_text(dir_ / "out" / "images.json", json);
    EXPECT_NE(error_of([&] { TensorShards(dir_ / "out", "images"); }).find("images.json: "), std::string::npos) << json;
  }
}

TEST_F(TensorShardsTest, AnIndexThatLiesIsRefused) {
  const fs::path out = dir_ / "out";
  write_all(out);
  const nlohmann::json good = golden_json(out / "images.json");
  const auto refused = [&](const std::function<void(nlohmann::json&)>& edit) {
    nlohmann::json index = good;
    edit(index);
    write_text(out / "images.json", index.dump());
    return error_of([&] { TensorShards(out, "images"); });
  };
  EXPECT_NE(refused([](auto& j) { j["shards"][0]["file"] = "../x"; }).find("names a shard in another folder"),
            std::string::npos);
  EXPECT_NE(refused([](auto& j) { j["shards"][1] = j["shards"][0]; }).find("names images-000000.safetensors behind"),
            std::string::npos);
  EXPECT_NE(refused([](auto& j) { j["shards"][1]["items"] = 0; }).find("images-000001.safetensors: is not the shard"),
            std::string::npos);
  EXPECT_NE(refused([](auto& j) { j["shards"].erase(1); }).find("has 9 items, its shards 6"), std::string::npos);
  EXPECT_NE(refused([](auto& j) { j["shards"][0]["crc32"]["x"] = 1; }).find("images-000000.safetensors: is not the"),
            std::string::npos);
  write_text(out / "images.json", good.dump());
  for (const char* end : {"/", "//", "/."}) EXPECT_EQ(TensorShards(out.string() + end, "images").items(), 9);
}

TEST_F(TensorShardsTest, ShardsMadeInAnotherWayAreNotMixedIn) {
  write_all(dir_ / "out");
  ShardPlan other = plan();
  other.made = {{"size", int64_t{16}}};
  EXPECT_NE(error_of([&] {
              TensorShardWriter(dir_ / "out", other);
            }).find("made with other settings or of other data (size 8, here 16); choose an empty folder"),
            std::string::npos);
  other = plan();
  other.items_a_shard = 5;
  EXPECT_NE(error_of([&] { TensorShardWriter(dir_ / "out", other); }).find("(items_a_shard 4, here 5)"),
            std::string::npos);
  other = plan();
  other.kind = "text";  // beside them
  write_text(dir_ / "out" / "text-encoder.safetensors", "a user's own");
  EXPECT_FALSE(TensorShardWriter(dir_ / "out", other).whole(0));
  write_text(dir_ / "file", "x");
  EXPECT_NE(error_of([&] { TensorShardWriter(dir_ / "file", plan()); }).find("cannot create this folder"),
            std::string::npos);
}

TEST_F(TensorShardsTest, NamesNeedNotBeUtf8) {
  ShardPlan p = plan();
  p.items = 2;
  p.made = {{"encoder", "caf\xe9.pth"}};
  TensorShardWriter writer(dir_ / "out", p);
  float x[2] = {};
  writer.write(0, {.names = {"caf\xe9", "two\nlines"}, .tensors = {{"x", Tensor(x, DType::f32, {2, 1})}}});
  writer.finish();
  EXPECT_TRUE(TensorShardWriter(dir_ / "out", p).whole(0));
  EXPECT_EQ(TensorShards(dir_ / "out", "images").names(), (std::vector<std::string>{"caf\xe9", "two\\nlines"}));
}

}  // namespace
}  // namespace uvic
