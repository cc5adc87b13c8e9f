#include "app/dataset.h"

#include <algorithm>
#include <set>

#include "app/data/tar.h"
#include "app/resize.h"
#include "tests/app/golden_images.h"

namespace uvic {
namespace {

using namespace test;
namespace fs = std::filesystem;

// ---- a tar writer: just what the reader must understand ------------------------------------------------------------
std::string tar_header(const std::string& name, size_t size, char type) {
  std::string h(512, '\0');
  h.replace(0, std::min<size_t>(name.size(), 100), name, 0, 100);
  char field[16];
  std::snprintf(field, sizeof field, "%011zo", size);
  h.replace(124, 11, field);
  h[156] = type;
  h.replace(257, 8, std::string("ustar\0", 6) + "00");
  h.replace(148, 8, "        ");
  unsigned sum = 0;
  for (const char c : h) sum += static_cast<unsigned char>(c);
  std::snprintf(field, sizeof field, "%06o", sum);
  h.replace(148, 7, std::string(field, 7));
  return h;
}
std::string tar_entry(const std::string& name, const std::string& body, char type = '0') {
  return tar_header(name, body.size(), type) + body + std::string((512 - body.size() % 512) % 512, '\0');
}
const std::string kTarEnd(1024, '\0');

std::string png_text(int seed, int size = 8) {
  Image image = test_image(size, size, seed);
  const std::vector<uint8_t> png = encode_png(image.tensor());
  return {png.begin(), png.end()};
}

DataConfig at(const fs::path& path) {
  DataConfig c;
  c.path = path.string();
  c.workers = 2;
  return c;
}

class DatasetTest : public FolderTest {
 protected:
  // classes x per_class images of 8 x 8; image (c, i) is test_image of seed 10 c + i.
  fs::path class_folders(int classes, int per_class) {
    for (int c = 0; c < classes; ++c)
      for (int i = 0; i < per_class; ++i)
        write_text(dir_ / "set" / ("class" + std::to_string(c)) / ("img" + std::to_string(i) + ".png"),
                   png_text(10 * c + i));
    return dir_ / "set";
  }
};

TEST_F(DatasetTest, FoldersAnyDepthEitherCaseSorted) {
  const fs::path root = dir_ / "set";
  write_text(root / "dog" / "b.PNG", png_text(1));
  write_text(root / "dog" / "deep" / "er" / "a.png", png_text(2));
  write_text(root / "cat" / "z.png", png_text(3));
  write_text(root / "cat" / "notes.txt", "not an image");
  write_text(root / "cat" / ".hidden.png", png_text(4));
  write_text(root / ".cache" / "x.png", png_text(4));
  fs::create_directory_symlink(root, root / "dog" / "circle");
  const Dataset data(at(root));
  EXPECT_EQ(data.class_names(), (std::vector<std::string>{"cat", "dog"}));
  std::vector<std::string> names;
  for (int64_t i = 0; i < data.size(); ++i) names.push_back(data.name(i) + " " + std::to_string(data.label(i)));
  EXPECT_EQ(names, (std::vector<std::string>{"cat/z.png 0", "dog/b.PNG 1", "dog/deep/er/a.png 1"}));
  EXPECT_EQ(data.load(0), test_image(8, 8, 3));

  DataConfig chosen = at(root);
  chosen.classes = {"dog"};
  EXPECT_EQ(Dataset(chosen).size(), 2);
  EXPECT_EQ(Dataset(chosen).label(0), 0);
  chosen.classes = {"dgo"};
  EXPECT_NE(error_of([&] { Dataset d(chosen); }).find("did you mean 'dog'?"), std::string::npos);
}

TEST_F(DatasetTest, ImagesInTheRootHaveNoClasses) {
  write_text(dir_ / "set" / "a.png", png_text(1));
  write_text(dir_ / "set" / "sub" / "b.png", png_text(2));
  const Dataset data(at(dir_ / "set"));
  EXPECT_EQ(data.size(), 2);
  EXPECT_EQ(data.classes(), 0);
  EXPECT_EQ(data.label(0), -1);
}

TEST_F(DatasetTest, TarSubtreesLongNamesAndShards) {
  const std::string long_name = "root/train/cat/" + std::string(150, 'n') + ".png";
  const std::string pax = " path=" + long_name + "\n";
  const std::string record = std::to_string(pax.size() + 3) + pax;
  write_text(dir_ / "x.tar", tar_entry("root/train/", "", '5') + tar_entry("root/train/dog/1.png", png_text(1)) +
                                 tar_entry("pax", record, 'x') + tar_entry("short", png_text(2)) +
                                 tar_entry("././@LongLink", "root/test/dog/" + std::string(200, 'g') + ".png", 'L') +
                                 tar_entry("short", png_text(3)) + tar_entry("root/train/readme.txt", "text") +
                                 kTarEnd);
  const Dataset train(at(dir_ / "x.tar:root/train"));
  EXPECT_EQ(train.class_names(), (std::vector<std::string>{"cat", "dog"}));
  ASSERT_EQ(train.size(), 2);
  EXPECT_EQ(train.load(0), test_image(8, 8, 2));
  EXPECT_EQ(train.load(1), test_image(8, 8, 1));
  // Without a subtree the one folder around everything is not a class.
  EXPECT_EQ(Dataset(at(dir_ / "x.tar")).class_names(), (std::vector<std::string>{"test", "train"}));

  write_text(dir_ / "shards" / "b.tar", tar_entry("dog/2.png", png_text(5)) + kTarEnd);
  write_text(dir_ / "shards" / "a.tar",
             tar_entry("ant/2.png", png_text(6)) + tar_entry("dog/2.png", png_text(7)) + kTarEnd);
  for (const std::string& path : {(dir_ / "shards").string(), (dir_ / "shards" / "*.tar").string()}) {
    const Dataset data(at(path));
    ASSERT_EQ(data.size(), 3) << path;
    EXPECT_EQ(data.load(0), test_image(8, 8, 6));
    EXPECT_EQ(data.load(1), test_image(8, 8, 7));
    EXPECT_EQ(data.load(2), test_image(8, 8, 5));
  }
}

TEST_F(DatasetTest, WebDatasetPairs) {
  write_text(dir_ / "w.tar", tar_entry("0001.png", png_text(1)) + tar_entry("0001.cls", "2\n") +
                                 tar_entry("0000.cls", "0") + tar_entry("0000.seg.png", png_text(2)) + kTarEnd);
  const Dataset data(at(dir_ / "w.tar"));
  ASSERT_EQ(data.size(), 2);
  EXPECT_EQ(data.label(0), 0);
  EXPECT_EQ(data.label(1), 2);
  EXPECT_EQ(data.classes(), 3);
  write_text(dir_ / "w.tar", tar_entry("0001.png", png_text(1)) + tar_entry("0002.cls", "2\n") + kTarEnd);
  EXPECT_NE(error_of([&] { Dataset d(at(dir_ / "w.tar")); }).find("0001.png has no label"), std::string::npos);
}

TEST_F(DatasetTest, DamagedTarFilesAreRefused) {
  const std::string whole = tar_entry("a/1.png", png_text(1)) + tar_entry("a/2.png", png_text(2)) + kTarEnd;
  const fs::path path = dir_ / "x.tar";
  const auto error = [&](const std::string& bytes) {
    write_text(path, bytes);
    return error_of([&] { read_tar_index(path); });
  };
  write_text(path, whole);
  EXPECT_EQ(read_tar_index(path).size(), 2u);
  EXPECT_NE(error("\x1f\x8b" + whole).find("not an uncompressed tar file"), std::string::npos);
  EXPECT_NE(error(whole.substr(0, 600)).find("truncated"), std::string::npos);
  EXPECT_NE(error(whole.substr(0, 100)).find("truncated"), std::string::npos);
  std::string bad = whole;
  bad[bad.find("a/2.png")] = 'b';
  EXPECT_NE(error(bad).find("wrong checksum"), std::string::npos);
  std::string huge = tar_header("a/1.png", 0, '0');
  huge.replace(124, 12, "777777777777");  // 64 GiB: the checksum is made right again below
  huge.replace(148, 8, "        ");
  unsigned sum = 0;
  for (const char c : huge) sum += static_cast<unsigned char>(c);
  char field[16];
  std::snprintf(field, sizeof field, "%06o", sum);
  huge.replace(148, 7, std::string(field, 7));
  EXPECT_NE(error(huge + kTarEnd).find("truncated"), std::string::npos);
}

TEST_F(DatasetTest, CifarBinary) {
  for (const int file : {2, 1}) {
    std::string bytes;
    for (int i = 0; i < 3; ++i) {
      bytes += static_cast<char>(file + i);
      for (int c = 0; c < 3; ++c) bytes += std::string(1024, static_cast<char>(file * 50 + i * 10 + c));
    }
    write_text(dir_ / ("data_batch_" + std::to_string(file) + ".bin"), bytes);
  }
  write_text(dir_ / "test_batch.bin", std::string(3073, '\1'));
  const Dataset data(at(dir_));
  ASSERT_EQ(data.size(), 6);
  EXPECT_EQ(data.class_names()[3], "cat");
  EXPECT_EQ(data.label(4), 3);
  const Image image = data.load(4);
  EXPECT_EQ(image.height, 32);
  EXPECT_EQ(std::vector<uint8_t>(image.rgb.begin() + 300, image.rgb.begin() + 303),
            (std::vector<uint8_t>{110, 111, 112}));
  EXPECT_EQ(Dataset(at(dir_ / "test_batch.bin")).size(), 1);
  write_text(dir_ / "test_batch.bin", std::string(3074, '\1'));
  EXPECT_NE(error_of([&] { Dataset d(at(dir_ / "test_batch.bin")); }).find("not a multiple of 3073"),
            std::string::npos);
}

TEST_F(DatasetTest, ListFile) {
  class_folders(1, 2);
  write_text(dir_ / "l.txt", "set/class0/img1.png\t1\r\n\nset/class0/img0.png\t0\n");
  const Dataset data(at(dir_ / "l.txt"));
  EXPECT_EQ(data.classes(), 2);
  EXPECT_EQ(data.load(0), test_image(8, 8, 0));
  write_text(dir_ / "l.txt", "set/class0/img1.png\tx\n");
  EXPECT_NE(error_of([&] { Dataset d(at(dir_ / "l.txt")); }).find("l.txt:1: a label must be an integer"),
            std::string::npos);
}

TEST_F(DatasetTest, ErrorsNameThePath) {
  const auto error = [&](const fs::path& path) { return error_of([&] { Dataset d(at(path)); }); };
  EXPECT_EQ(error("").find("data.path is not set"), 0u);
  EXPECT_EQ(error(dir_ / "absent"), (dir_ / "absent").string() + ": no such file or folder");
  EXPECT_EQ(error(dir_), dir_.string() + ": no images found (format folder)");
  EXPECT_EQ(error(dir_ / "*.tar"), (dir_ / "*.tar").string() + ": no file matches");
  const Dataset data(at(class_folders(1, 3)));
  const std::string few = error_of([&] { BatchLoader l(data, at(""), {.batch_size = 4, .image_size = 8}); });
  EXPECT_NE(few.find("3 images are fewer than train.batch_size 4"), std::string::npos) << few;
}

// ---- order and batches ---------------------------------------------------------------------------------------------
TEST(EpochOrderTest, APermutationThatDependsOnSeedAndEpochAlone) {
  for (const int64_t n : {1, 2, 3, 10, 1000}) {
    std::vector<uint32_t> order = epoch_order(5, 3, n);
    EXPECT_EQ(order, epoch_order(5, 3, n));
    if (n >= 10) {
      EXPECT_NE(order, epoch_order(5, 4, n));
      EXPECT_NE(order, epoch_order(6, 3, n));
    }
    std::sort(order.begin(), order.end());
    for (int64_t i = 0; i < n; ++i) EXPECT_EQ(order[static_cast<size_t>(i)], i);
  }
}

TEST(EpochOrderTest, EveryPlaceIsEquallyLikely) {
  // 6000 epochs of 4 images: each of the 24 orders has probability 1/24; chi-square with 23 degrees is above 59 once in
  // 50000 seeds.
  std::map<std::vector<uint32_t>, int> count;
  for (int epoch = 0; epoch < 6000; ++epoch) ++count[epoch_order(1, epoch, 4)];
  ASSERT_EQ(count.size(), 24u);
  double chi = 0;
  for (const auto& [order, n] : count) chi += (n - 250.0) * (n - 250.0) / 250.0;
  EXPECT_LT(chi, 59);
}

struct Row {
  int32_t label;
  std::vector<uint8_t> pixels;
  bool operator==(const Row&) const = default;
};
std::vector<Row> take(const Dataset& data, const DataConfig& config, LoaderOptions options, int batches) {
  BatchLoader loader(data, config, options);
  std::vector<Row> rows;
  for (int k = 0; k < batches; ++k) {
    const Batch batch = loader.next();
    EXPECT_EQ(batch.first_sample, (options.start_step + k) * options.batch_size);
    EXPECT_EQ(batch.pixels.tensor.shape(), (Shape{options.batch_size, options.image_size, options.image_size, 3}));
    const auto* p = batch.pixels.tensor.data<uint8_t>();
    const int64_t bytes = batch.pixels.tensor.numel() / options.batch_size;
    for (int64_t r = 0; r < options.batch_size; ++r)
      rows.push_back({batch.labels[static_cast<size_t>(r)], {p + r * bytes, p + (r + 1) * bytes}});
  }
  EXPECT_GE(loader.wait_seconds(), 0);
  return rows;
}

TEST_F(DatasetTest, RowsDoNotDependOnThreadsBatchSizeCacheOrResuming) {
  const Dataset data(at(class_folders(3, 5)));
  for (const std::string crop : {"center", "random"}) {
    DataConfig config = at("");
    config.crop = crop;
    const LoaderOptions options{.batch_size = 4, .image_size = 8, .seed = 7};
    const std::vector<Row> want = take(data, config, options, 12);  // 48 rows: more than three epochs
    for (const int workers : {1, 5}) {
      for (const int cache_mb : {0, 1}) {
        config.workers = workers;
        config.cache_mb = cache_mb;
        EXPECT_EQ(take(data, config, options, 12), want);
        EXPECT_EQ(take(data, config, {.batch_size = 12, .image_size = 8, .seed = 7}, 4), want);
        EXPECT_EQ(take(data, config, {.batch_size = 4, .image_size = 8, .seed = 7, .start_step = 5}, 7),
                  std::vector<Row>(want.begin() + 20, want.end()));
      }
    }
    EXPECT_NE(take(data, config, {.batch_size = 4, .image_size = 8, .seed = 8}, 12), want);
  }
}

TEST_F(DatasetTest, EveryEpochHoldsEveryImageOnceFlippedOrNot) {
  const Dataset data(at(class_folders(2, 5)));
  const auto key = [](const std::vector<uint8_t>& rgb) { return std::string(rgb.begin(), rgb.end()); };
  std::map<std::string, int32_t> plain, mirrored;
  for (int64_t i = 0; i < data.size(); ++i) {
    plain[key(data.load(i).rgb)] = data.label(i);
    mirrored[key(flip_horizontally(data.load(i)).rgb)] = data.label(i);
  }
  DataConfig config = at("");
  for (const bool flip : {false, true}) {
    config.random_flip = flip;
    const std::vector<Row> rows = take(data, config, {.batch_size = 10, .image_size = 8, .seed = 3}, 20);
    int flips = 0;
    for (size_t epoch = 0; epoch < 20; ++epoch) {
      std::set<std::string> seen;
      for (size_t r = epoch * 10; r < epoch * 10 + 10; ++r) {
        const bool flipped = !plain.contains(key(rows[r].pixels));
        flips += flipped;
        const auto& where = flipped ? mirrored : plain;
        ASSERT_TRUE(where.contains(key(rows[r].pixels)));
        EXPECT_EQ(rows[r].label, where.at(key(rows[r].pixels)));
        seen.insert(key(flipped ? flip_horizontally({8, 8, rows[r].pixels}).rgb : rows[r].pixels));
      }
      EXPECT_EQ(seen.size(), 10u);
    }
    if (flip)
      EXPECT_NEAR(flips, 100, 35);  // five standard deviations
    else
      EXPECT_EQ(flips, 0);
  }
}

TEST_F(DatasetTest, BrokenImagesAreReplacedUpToTheAllowedShare) {
  const fs::path root = class_folders(2, 5);
  write_text(root / "class0" / "img4.png", png_text(4).substr(0, 60));
  write_text(root / "class1" / "img0.png", "");  // images 4 and 5: the replacement of both is image 6
  const Dataset data(at(root));
  DataConfig config = at("");
  config.random_flip = false;
  config.max_bad_share = 0.2;
  const LoaderOptions options{.batch_size = 10, .image_size = 8};
  for (const int cache_mb : {0, 1}) {
    config.cache_mb = cache_mb;
    const std::vector<Row> rows = take(data, config, options, 2);
    EXPECT_EQ(std::count(rows.begin(), rows.end(), (Row{1, test_image(8, 8, 11).rgb})), 6);
    EXPECT_EQ(std::count_if(rows.begin(), rows.end(), [](const Row& r) { return r.label == 0; }), 8);
    BatchLoader loader(data, config, options);
    loader.next();
    EXPECT_EQ(loader.bad_images(), 2);
    EXPECT_NE(loader.bad_examples().at(0).find("img4.png"), std::string::npos);
  }
  config.max_bad_share = 0.1;
  BatchLoader loader(data, config, options);
  const std::string error = error_of([&] { loader.next(); });
  EXPECT_NE(error.find("2 of 10 images are broken"), std::string::npos) << error;
  EXPECT_NE(error.find("img4.png"), std::string::npos) << error;
  EXPECT_NE(error.find("img0.png"), std::string::npos) << error;
  EXPECT_EQ(error_of([&] { loader.next(); }), error);  // and it does not hang on a second call
}

TEST_F(DatasetTest, ALoaderMayBeDroppedAtAnyTime) {
  const Dataset data(at(class_folders(2, 5)));
  for (int taken = 0; taken < 4; ++taken) {
    DataConfig config = at("");
    config.workers = 4;
    take(data, config, {.batch_size = 2, .image_size = 8}, taken);
  }
}

}  // namespace
}  // namespace uvic
