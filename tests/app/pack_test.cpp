#include "app/pack.h"

#include <csignal>
#include <set>

#include "app/data/folder_lock.h"
#include "app/data/shard_index.h"
#include "app/dataset.h"
#include "app/resize.h"
#include "tests/app/image_fixtures.h"
#include "tests/app/program.h"
#include "tests/app/tar_bytes.h"

namespace uvic {
namespace {

using namespace test;
namespace fs = std::filesystem;

class PackTest : public ImageFolderTest {
 protected:
  PackRequest request(const fs::path& data, const std::string& out) {
    PackRequest r;
    r.data = data_at(data);
    r.out = dir_ / out;
    r.shard_mb = 0.005;  // two or three images of 8 x 8, with their labels and tar headers
    r.progress = Progress::Style::quiet;
    return r;
  }
};

// What a data set holds, by name without its extension, whatever the order.
using Contents = std::map<std::string, std::pair<std::string, std::vector<uint8_t>>>;
Contents contents(const DataConfig& config) {
  const Dataset data(config);
  Contents all;
  for (int64_t i = 0; i < data.size(); ++i) {
    const std::string label = data.classes() > 0 ? data.class_names()[static_cast<size_t>(data.label(i))] : "";
    const Image image = data.load(i);
    EXPECT_TRUE(all.emplace(fs::path(data.name(i)).replace_extension().string(), std::pair{label, image.rgb}).second);
  }
  return all;
}

std::map<std::string, std::string> files_in(const fs::path& dir) {
  std::map<std::string, std::string> files;
  for (const auto& item : fs::directory_iterator(dir)) files[item.path().filename()] = read_text(item.path());
  return files;
}

TEST_F(PackTest, ShardsHoldWhatTheFolderHolds) {
  const fs::path root = class_folders(3, 5);
  const PackOutcome o = pack(request(root, "out"));
  EXPECT_EQ(o.images, 15);
  EXPECT_EQ(o.bad, 0);
  EXPECT_GT(o.shards, 3);
  DataConfig packed = data_at(dir_ / "out");
  const Contents want = contents(data_at(root));
  for (const char* reading : {"random", "sequential"}) {
    packed.reading = reading;
    EXPECT_EQ(contents(packed), want);
  }
  EXPECT_EQ(Dataset(packed).class_names(), (std::vector<std::string>{"class0", "class1", "class2"}));
  // Without the indices the headers say the same.
  const Dataset indexed(packed);
  std::vector<std::vector<uint8_t>> bytes;
  for (int64_t i = 0; i < indexed.size(); ++i) bytes.push_back(indexed.read(i));
  for (const auto& [name, text] : files_in(dir_ / "out"))
    if (name.ends_with(".tsv")) fs::remove(dir_ / "out" / name);
  const Dataset scanned(packed);
  ASSERT_EQ(scanned.size(), indexed.size());
  for (int64_t i = 0; i < scanned.size(); ++i) {
    EXPECT_EQ(scanned.name(i), indexed.name(i));
    EXPECT_EQ(scanned.read(i), bytes[static_cast<size_t>(i)]);
  }
  const nlohmann::json index = golden_json(dir_ / "out" / "index.json");
  EXPECT_EQ(index["images_per_class"], (std::vector<int>{5, 5, 5}));
  EXPECT_EQ(index["shards"].size(), static_cast<size_t>(o.shards));
}

TEST_F(PackTest, ImagesAreShuffledUnlessTheyShallNotBe) {
  PackRequest r = request(class_folders(3, 5), "mixed");
  const auto labels = [&] {  // in the order of the shards
    std::vector<int32_t> all;
    for (const auto& [name, text] : files_in(r.out)) {
      if (!name.ends_with(".tar")) continue;
      const auto entries = read_shard_index(r.out / name);
      for (const ImageEntry& e : *entries) all.push_back(e.label);
    }
    return all;
  };
  pack(r);
  const std::vector<int32_t> mixed = labels();
  EXPECT_FALSE(std::is_sorted(mixed.begin(), mixed.end()));
  r.out = dir_ / "other";
  r.seed = 1;
  pack(r);
  EXPECT_NE(labels(), mixed);
  r.out = dir_ / "sorted";
  r.in_order = true;
  pack(r);
  const std::vector<int32_t> sorted = labels();
  EXPECT_TRUE(std::is_sorted(sorted.begin(), sorted.end()));
}

TEST_F(PackTest, NamesBecomeKeysOfTheirOwn) {
  const fs::path root = dir_ / "set";
  write_text(root / "a.b" / "x.y.png", png_text(1));
  write_text(root / "a.b" / "x.png", png_text(2));
  write_text(root / "a.b" / "x.PNG", png_text(3));
  write_text(root / "c" / "k\xc3\xa4tzchen \xe7\x8c\xab\n.png", png_text(4));
  write_text(root / "c" / std::string(160, 'n') / (std::string(120, 'm') + ".png"), png_text(5));
  pack(request(root, "out"));
  std::multiset<std::string> got, want;
  for (const auto& [name, entry] : contents(data_at(dir_ / "out")))
    got.insert(std::string(entry.second.begin(), entry.second.end()));
  for (const int seed : {1, 2, 3, 4, 5}) {
    const Image image = test_image(8, 8, seed);
    want.insert(std::string(image.rgb.begin(), image.rgb.end()));
  }
  EXPECT_TRUE(got == want);
  EXPECT_TRUE(contents(data_at(dir_ / "out")).contains("a.b/x_y"));
}

TEST_F(PackTest, BrokenFilesAreNamedAndLeftOut) {
  const fs::path root = class_folders(2, 4);
  write_text(root / "class0" / "empty.jpg", "");
  write_text(root / "class1" / "words.png", "words");
  write_text(root / "class1" / "half.png", png_text(1).substr(0, 70));
  PackRequest r = request(root, "out");
  r.in_order = true;
  const PackOutcome o = pack(r);
  EXPECT_EQ(o.images, 8);
  EXPECT_EQ(o.bad, 3);
  EXPECT_EQ(contents(data_at(dir_ / "out")).size(), 8u);
  const std::string left_out = golden_json(dir_ / "out" / "index.json")["left_out"].dump();
  for (const char* name : {"empty.jpg: empty file", "words.png: not a JPEG", "half.png: "})
    EXPECT_NE(left_out.find(name), std::string::npos) << left_out;
  EXPECT_EQ(pack(r).bad, 3);  // a second call finds them in the log
  write_text(root / "class0" / "two\nlines.png", "words");
  r.out = dir_ / "lines";
  pack(r);
  EXPECT_NE(read_text(r.out / "index.json").find(R"(two\\nlines.png: not a JPEG)"), std::string::npos);

  write_text(dir_ / "bad" / "a" / "1.png", "x");
  EXPECT_NE(error_of([&] { pack(request(dir_ / "bad", "none")); }).find("every image is broken"), std::string::npos);
}

TEST_F(PackTest, ResizedAsTrainingWouldDoIt) {
  write_text(dir_ / "set" / "a" / "x.png", [] {
    Image image = test_image(40, 60, 3);
    const std::vector<uint8_t> png = encode_png(image.tensor());
    return std::string(png.begin(), png.end());
  }());
  PackRequest r = request(dir_ / "set", "center");
  r.size = 16;
  pack(r);
  EXPECT_EQ(Dataset(data_at(r.out)).load(0), center_crop_arr(test_image(40, 60, 3), 16));
  r.out = dir_ / "short";
  r.crop = "short";
  pack(r);
  EXPECT_EQ(Dataset(data_at(r.out)).load(0), resize_short_side(test_image(40, 60, 3), 16));
  EXPECT_EQ(Dataset(data_at(r.out)).load(0).width, 24);
  r.out = dir_ / "jpeg";
  r.jpeg_quality = 90;
  pack(r);
  const Dataset jpeg(data_at(r.out));
  EXPECT_EQ(jpeg.name(0), "a/x.jpg");
  EXPECT_EQ(jpeg.load(0).width, 24);
}

TEST_F(PackTest, WhateverStoppedItTheNextCallEndsWithTheSameBytes) {
  const fs::path root = class_folders(3, 5);
  write_text(root / "class2" / "bad.png", "words");
  const PackRequest whole = request(root, "whole"), r = request(root, "out");
  pack(whole);
  const auto want = files_in(whole.out);
  const std::string log = want.at("pack.jsonl");
  const auto lines = static_cast<size_t>(std::count(log.begin(), log.end(), '\n'));
  ASSERT_GT(lines, 4u);
  for (size_t cut = 0; cut < log.size(); cut += 29) {  // a kill while the log is written, or before the rest was
    fs::remove_all(r.out);
    const size_t done =
        static_cast<size_t>(std::count(log.begin(), log.begin() + static_cast<std::ptrdiff_t>(cut), '\n'));
    if (done > 0) write_text(r.out / "pack.jsonl", log.substr(0, cut));
    for (const auto& [name, text] : want)
      if (done > 0 && name.starts_with("shard-") && std::stoul(name.substr(6, 6)) <= done)
        write_text(r.out / name, text);
    if (done < lines) write_text(r.out / concat("shard-00000", done > 0 ? done - 1 : 0, ".tar.tmp"), "half a shard");
    const PackOutcome o = pack(r);
    EXPECT_EQ(o.kept, done > 0 ? static_cast<int>(done) - 1 : 0);
    EXPECT_TRUE(files_in(r.out) == want) << "the log cut at " << cut;
  }
  fs::remove(r.out / "shard-000001.tar");  // somebody takes one away
  EXPECT_EQ(pack(r).kept, 1);
  EXPECT_TRUE(files_in(r.out) == want);
  fs::remove(r.out / "shard-000002.tsv");  // or an index, without which index.json would count no images
  EXPECT_EQ(pack(r).kept, 2);
  EXPECT_TRUE(files_in(r.out) == want);
  write_text(r.out / "pack.jsonl", log.substr(0, log.find('\n') + 1) + R"({"file":3,"samples":[],"next":9})" + "\n");
  EXPECT_EQ(pack(r).kept, 0);
  EXPECT_TRUE(files_in(r.out) == want);

  std::sig_atomic_t stop = 1;
  PackRequest stopped = request(root, "stopped");
  stopped.stop = &stop;
  EXPECT_TRUE(pack(stopped).interrupted);
  EXPECT_FALSE(fs::exists(stopped.out / "index.json"));
  stop = 0;
  EXPECT_FALSE(pack(stopped).interrupted);
  EXPECT_TRUE(files_in(stopped.out) == want);
}

// The index says what is missing, so that only this is lost.
TEST_F(PackTest, AShardCutAfterPackingLosesWhatIsMissing) {
  PackRequest r = request(class_folders(2, 10), "out");
  r.shard_mb = 0.012;
  pack(r);
  const fs::path shard = r.out / "shard-000000.tar";
  const std::vector<ImageEntry> entries = *read_shard_index(shard);
  fs::resize_file(shard, static_cast<uintmax_t>(entries.at(entries.size() - 2).offset) + 10);
  DataConfig config = data_at(r.out);
  config.max_bad_share = 0.1;
  for (const char* reading : {"random", "sequential"}) {
    config.reading = reading;
    const Dataset data(config);
    ASSERT_EQ(data.size(), 20);
    BatchLoader loader(data, config, {.batch_size = 10, .image_size = 8});
    for (int k = 0; k < 2; ++k) loader.next();
    EXPECT_EQ(loader.bad_images(), 2);
    EXPECT_NE(loader.bad_examples().at(0).find("shard-000000.tar: bytes"), std::string::npos);
  }
}

TEST_F(PackTest, AnotherPackingIsNotMixedIn) {
  PackRequest r = request(class_folders(2, 4), "out");
  pack(r);
  r.seed = 1;
  EXPECT_EQ(error_of([&] { pack(r); }), r.out.string() +
                                            ": holds shards packed with other settings or of other images "
                                            "(seed 0, here 1); choose an empty folder");
  r.seed = 0;
  write_text(dir_ / "set" / "class0" / "img0.png", "other");  // names and labels are those of before
  EXPECT_NE(error_of([&] { pack(r); }).find("(fingerprint "), std::string::npos);
  write_text(dir_ / "theirs" / "x.tar", kTarEnd);
  r.out = dir_ / "theirs";
  EXPECT_NE(error_of([&] { pack(r); }).find("x.tar, which is not of this packing"), std::string::npos);
}

TEST_F(PackTest, TwoDoNotPackIntoOneFolder) {
  PackRequest r = request(class_folders(2, 4), "out");
  const std::vector<std::string> arguments{"pack", r.data.path, "-o", r.out.string(), "--shard-mb", "0.005", "-q"};
  fs::create_directories(r.out);
  write_text(r.out / "uvic.lock", "999999999\n");  // left by a kill: nobody holds it
  {
    const FolderLock lock(r.out);
    const Ended second = run_program("uvic-encode", arguments);
    EXPECT_TRUE(failed_clearly(second, "uvic-encode", 1,
                               {r.out.string() + concat(": process ", ::getpid(), " is writing into it")}));
    EXPECT_EQ(files_in(r.out).size(), 1u);  // the lock
  }
  EXPECT_FALSE(fs::exists(r.out / "uvic.lock"));
  const Ended alone = run_program("uvic-encode", arguments);
  EXPECT_EQ(alone.status, 0) << alone.err;
  EXPECT_EQ(files_in(r.out).count("uvic.lock"), 0u);
}

TEST_F(PackTest, KilledItGoesOn) {
  const fs::path root = class_folders(4, 40), out = dir_ / "out";
  PackRequest whole = request(root, "whole");
  pack(whole);
  fs::create_directories(out);
  const std::vector<std::string> arguments{"pack", root.string(), "-o", out.string(), "--shard-mb", "0.005"};
  int kills = 0;
  for (int round = 1; round <= 5; ++round) {
    Program program("uvic-encode", arguments);
    wait_until(program, out, [&] { return fs::exists(out / concat("shard-", "00000", round, ".tar")); });
    program.signal(SIGKILL);
    kills += program.wait().status == 128 + SIGKILL;
  }
  EXPECT_GT(kills, 0);
  EXPECT_EQ(run_program("uvic-encode", arguments).status, 0);
  EXPECT_TRUE(files_in(out) == files_in(whole.out));
}

TEST_F(PackTest, TheProgramPacksResumesAndFailsClearlyOnAFullDisk) {
  const fs::path root = class_folders(3, 5);
  const std::vector<std::string> arguments{"pack", root.string(), "-o", (dir_ / "out").string(), "--shard-mb", "0.005"};
  RunOptions full;
  full.file_size_limit = 4000;
  EXPECT_TRUE(failed_clearly(run_program("uvic-encode", arguments, full), "uvic-encode", 1, {"shard-000000.tar"}));
  EXPECT_FALSE(fs::exists(dir_ / "out" / "shard-000000.tar"));
  const Ended done = run_program("uvic-encode", arguments);
  EXPECT_EQ(done.status, 0) << done.err;
  EXPECT_EQ(contents(data_at(dir_ / "out")), contents(data_at(root)));
  EXPECT_TRUE(failed_clearly(run_program("uvic-encode", {"pack", (dir_ / "absent").string(), "-o", dir_.string()}),
                             "uvic-encode", 1, {"absent: no such file or folder"}));
  EXPECT_TRUE(failed_clearly(run_program("uvic-encode", {"pack"}), "uvic-encode", 2, {"data"}));
  std::vector<std::string> no_size = arguments;
  no_size.insert(no_size.end(), {"--jpeg-quality", "90"});  // which would leave the files as they are
  EXPECT_TRUE(failed_clearly(run_program("uvic-encode", no_size), "uvic-encode", 2, {"--size"}));
  write_text(dir_ / "file", "x");
  EXPECT_TRUE(failed_clearly(run_program("uvic-encode", {"pack", root.string(), "-o", (dir_ / "file").string()}),
                             "uvic-encode", 1, {"file", "cannot create this folder"}));
}

}  // namespace
}  // namespace uvic
